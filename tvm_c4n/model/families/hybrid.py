"""What families of Mamba-2 and attention have in common: the names of their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.blocks import Attention, Mamba2
from tvm_c4n.model.blocks.attention import RING_BLOCK
from tvm_c4n.model.description import Norm
from tvm_c4n.model.families.mamba2 import step_limits
from tvm_c4n.model.families.reader import MAX_CHANNELS, MAX_LAYERS, Fields

# Tokens of the longest text, unless another number is asked for: what is kept of each takes memory,
# whether a text needs it or not.
DEFAULT_CONTEXT = 4096
_MAX_POSITIONS = 1 << 24
# The words of transformers 5 for kinds of layers, and those of the config.json files around.
MAMBA2_WORDS = {
    "linear_attention": "mamba2",
    "mamba": "mamba2",
    "full_attention": "attention",
    "attention": "attention",
}
NO_FACTORS: Mapping[str, float] = {}


def layer_kinds(fields: Fields, words: Mapping[str, str], *names: str) -> list[str] | None:
    """Return the kind of block of each layer; None where none of the fields says it.

    Parameters
    ----------
    fields : Fields
    words : mapping of str to str
        What a word of config.json means: files have those of several versions of transformers.
    names : str
        Of fields, the first that is there counts: a list of words, or a string of letters.
    """
    name = next((name for name in names if fields.get(name)), None)
    if name is None:
        return None
    found = fields.get(name)
    if not isinstance(found, list | str):
        raise CheckpointError(f"config.json: {name} is no list of layers")
    count = fields.size("num_hidden_layers", len(found), most=MAX_LAYERS)
    if len(found) != count:
        raise CheckpointError(f"config.json: {name} is no list of {count} layers")
    unknown = [word for word in found if not isinstance(word, str) or word not in words]
    if unknown:
        known = " or ".join(map(repr, words))
        raise CheckpointError(f"{name} has {shown(unknown[0])}; only {known} is supported")
    return [words[word] for word in found]


def attention_layers(fields: Fields, name: str, default: list[int], other: str) -> list[str]:
    """Return the kind of block of each layer where a field lists those with attention."""
    count = fields.size("num_hidden_layers", most=MAX_LAYERS)
    found = default if fields.get(name) is None else fields.get(name)
    if not isinstance(found, list) or not all(type(i) is int and 0 <= i < count for i in found):
        raise CheckpointError(f"config.json: {name}={shown(found)}: is no list of 0..{count - 1}")
    return ["attention" if index in found else other for index in range(count)]


def positions_of(fields: Fields) -> int:
    """Return how many tokens the model's texts had at most: a multiple of `RING_BLOCK`."""
    positions = fields.size("max_position_embeddings", 2048, most=_MAX_POSITIONS)
    if positions < RING_BLOCK:
        raise CheckpointError(
            f"config.json: max_position_embeddings={positions}: attention takes {RING_BLOCK} "
            "or more"
        )
    return positions // RING_BLOCK * RING_BLOCK


def context_of(fields: Fields) -> int:
    """Return how many tokens a text may have by default: a multiple of `RING_BLOCK`."""
    return min(positions_of(fields), DEFAULT_CONTEXT)


def attention_of(
    fields: Fields,
    d_model: int,
    scale: float | None,
    theta: float | None,
    *,
    key_factor: float = 1.0,
    fraction: float = 1.0,
    head_dim: int | None = None,
    head_norms: tuple[Norm, Norm] | None = None,
    gated: bool = False,
    output: str = "o_proj",
    factors: Mapping[str, float] = NO_FACTORS,
    bias_factors: Mapping[str, float] = NO_FACTORS,
) -> Callable[[str], Attention]:
    """Read the fields of attention; returns the block of a prefix.

    Without a scale scores are divided by the root of a head's channels, and `key_factor` counts.
    With a base `fraction` of a head's channels is rotated. `head_dim` is that of a file that does
    not say it; if not given, heads share the hidden channels.
    """
    heads, kv_heads = fields.multiple("num_attention_heads", None, "num_key_value_heads", None)
    head_dim = fields.size("head_dim", head_dim or d_model // heads, most=1 << 12)
    rotary = int(head_dim * fraction)
    if theta is not None and (rotary % 2 or not 0 < rotary <= head_dim):
        part = "" if fraction == 1 else f" by partial_rotary_factor={fraction:g}"
        raise CheckpointError(f"config.json: heads of {head_dim} channels cannot be rotated{part}")
    context, bias = context_of(fields), fields.flag("attention_bias", False)
    own = key_factor / head_dim**0.5 if scale is None else scale
    return lambda prefix: Attention(
        prefix,
        d_model,
        heads,
        kv_heads,
        head_dim,
        context,
        own,
        theta,
        bias,
        rotary=rotary,
        head_norms=head_norms,
        gated=gated,
        output=output,
        factors=factors,
        bias_factors=bias_factors,
    )


def rotary_base(fields: Fields, default: float = 10000.0) -> float:
    """Return the base of rotary embeddings; other kinds than the plain one are refused."""
    given = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    plain = isinstance(given, dict)
    kind = given.get("rope_type", given.get("type", "default")) if plain else given
    if kind != "default":
        raise CheckpointError(f"rope_type is {shown(kind)}; only 'default' is supported")
    base = given.get("rope_theta", fields.get("rope_theta"))
    base = default if base is None else base
    if type(base) not in (int, float) or not 1 < base < inf:
        raise CheckpointError(f"config.json: rope_theta={shown(base)}: is no number above 1")
    return float(base)


def rotary_fraction(fields: Fields, default: float) -> float:
    """Return which part of a head's channels rotary embeddings turn."""
    name, given = "partial_rotary_factor", fields.get("rope_parameters")
    found = given.get(name) if isinstance(given, dict) else None
    found = fields.get(name) if found is None else found
    return Fields({name: default if found is None else found}).number(name)


def mamba2_of(
    fields: Fields,
    d_model: int,
    inner: int,
    norm_eps: float | None,
    *,
    out_bias: str = "mamba_proj_bias",
    factors: Mapping[str, float] = NO_FACTORS,
    bias_factors: Mapping[str, float] = NO_FACTORS,
    tap_factors: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Callable[[str], Mamba2]:
    """Read the fields ``mamba_*``; returns the mixer of a prefix.

    `out_bias` is the field that says whether out_proj has a bias.
    """
    heads, groups = fields.multiple("mamba_n_heads", 128, "mamba_n_groups", 1)
    auto = fields.get("mamba_d_head") in (None, "auto")
    head_dim = inner // heads if auto else fields.size("mamba_d_head")
    if heads * head_dim != inner or not 0 < inner <= MAX_CHANNELS:
        raise CheckpointError(
            f"config.json: mamba_n_heads={heads} times mamba_d_head={head_dim} is not {inner}, "
            "the mixer's channels"
        )
    state = fields.size("mamba_d_state", 256, most=1024)
    conv = fields.size("mamba_d_conv", 4, most=64)
    conv_bias = fields.flag("mamba_conv_bias", True)
    biases = fields.flag("mamba_proj_bias", False), fields.flag(out_bias, False)
    limits = step_limits(fields, "time_step_limit")
    return lambda prefix: Mamba2(
        prefix,
        d_model,
        heads,
        head_dim,
        groups,
        state,
        conv,
        conv_bias=conv_bias,
        in_bias=biases[0],
        out_bias=biases[1],
        norm_eps=norm_eps,
        limits=limits,
        tap_factors=tap_factors,
        factors=factors,
        bias_factors=bias_factors,
    )
