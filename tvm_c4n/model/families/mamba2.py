"""``mamba2``: Mamba-2 as Hugging Face has it, and Codestral-Mamba."""

from __future__ import annotations

from math import inf

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.blocks import Mamba2
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.reader import MAX_CHANNELS, MAX_LAYERS, MAX_VOCABULARY, Fields

MODEL_TYPE = "mamba2"
ARCHITECTURE = "Mamba2ForCausalLM"
# How transformers 5 writes what JSON has no number for.
_INFINITY = {"__float__": "Infinity"}


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    fields.only("hidden_act", ("silu",), "silu")
    fields.require("vocab_size", "hidden_size", "num_hidden_layers")
    d_model = fields.size("hidden_size", most=1 << 16)
    eps = fields.eps("layer_norm_epsilon", default=1e-5)
    heads, groups = fields.multiple("num_heads", 128, "n_groups", 8)
    head_dim = fields.size("head_dim", 64)
    expand = fields.number("expand", 2)
    if expand * d_model != heads * head_dim or heads * head_dim > MAX_CHANNELS:
        raise CheckpointError(
            f"config.json: num_heads={heads} times head_dim={head_dim} is not expand={expand:g} "
            f"times hidden_size={d_model}"
        )

    def layer(index: int) -> Layer:
        prefix = f"backbone.layers.{index}."
        mixer = Mamba2(
            prefix=prefix + "mixer.",
            d_model=d_model,
            heads=heads,
            head_dim=head_dim,
            groups=groups,
            d_state=fields.size("state_size", 128, most=1024),
            d_conv=fields.size("conv_kernel", 4, most=64),
            conv_bias=fields.flag("use_conv_bias", True),
            in_bias=fields.flag("use_bias", False),
            out_bias=fields.flag("use_bias", False),
            norm_eps=eps,
            limits=step_limits(fields, "time_step_limit"),
        )
        return Layer((Residual(Norm(prefix + "norm.weight", eps), (mixer,)),))

    embeddings = "backbone.embeddings.weight"
    tied = fields.flag("tie_word_embeddings", False)
    layers = tuple(layer(i) for i in range(fields.size("num_hidden_layers", most=MAX_LAYERS)))
    return ModelConfig(
        model_type=MODEL_TYPE,
        vocab_size=fields.size("vocab_size", most=MAX_VOCABULARY),
        d_model=d_model,
        layers=layers,
        embeddings=embeddings,
        final_norm=Norm("backbone.norm_f.weight", eps),
        head=embeddings if tied else "lm_head.weight",
        sizes={
            "heads": heads,
            "head_dim": head_dim,
            "groups": groups,
            "state": fields.size("state_size", 128),
            "conv": fields.size("conv_kernel", 4),
        },
    )


def step_limits(fields: Fields, name: str) -> tuple[float, float]:
    """Return the least and the largest step size."""
    found = fields.get(name)
    low, high = (0.0, inf) if found is None else _pair(name, found)
    return low, high


def _pair(name: str, found: object) -> tuple[float, float]:
    if isinstance(found, list | tuple) and len(found) == 2:
        low, high = (inf if value == _INFINITY else value for value in found)
        if all(type(v) in (int, float) for v in (low, high)) and 0 <= low < high:
            return float(low), float(high)
    raise CheckpointError(f"config.json: {name}={shown(found)}: is no pair of ascending numbers")
