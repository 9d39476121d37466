"""``falcon_h1``: Falcon-H1 and its tiny ones, Mamba-2 and attention side by side, then an MLP.

Its multipliers become factors of what projections read and of their biases, of the convolution's
taps, of scores, embeddings and logits. The one behind the mixer, o, has no such place: the stream
is ``h / o``, as in `granitemoehybrid`, and what the other blocks add is divided by o, too.
"""

from __future__ import annotations

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.blocks import Mlp
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import (
    attention_of,
    context_of,
    mamba2_of,
    positions_of,
    rotary_base,
)
from tvm_c4n.model.families.hybrid_model import mamba2_sizes
from tvm_c4n.model.families.reader import MAX_LAYERS, MAX_VOCABULARY, Fields

MODEL_TYPE = "falcon_h1"
ARCHITECTURE = "FalconH1ForCausalLM"


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    fields.only("hidden_act", ("silu",), "silu")
    fields.require("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
    d_model = fields.size("hidden_size", most=1 << 16)
    width = fields.size("intermediate_size")
    eps = fields.eps("rms_norm_eps", default=1e-5)
    normed = fields.flag("mamba_rms_norm", False)
    if normed:
        fields.only("mamba_norm_before_gate", (False,), True)
    into, out = (fields.number(f"ssm_{side}_multiplier", 1.0) for side in ("in", "out"))
    z, x, b, c, dt = _numbers(fields, "ssm_multipliers", 5)
    whole = fields.get("mamba_d_ssm") is None
    inner = int(fields.number("mamba_expand", 2) * d_model) if whole else fields.size("mamba_d_ssm")
    mixer = mamba2_of(
        fields,
        d_model,
        inner,
        eps if normed else None,
        out_bias="projectors_bias",
        factors={"in_proj": into * z, "bcdt_proj": into * dt},
        bias_factors={"in_proj": z, "bcdt_proj": dt},
        tap_factors=(x / z, b / dt, c / dt),
    )
    given, taken = (fields.number(f"attention_{side}_multiplier", 1.0) for side in ("in", "out"))
    attention = attention_of(
        fields,
        d_model,
        None,
        rotary_base(fields),
        key_factor=given**2 * fields.number("key_multiplier", 1.0),
        factors={"v_proj": given * taken / out},
        # Biases of queries and keys are not scaled by what is given, but scores are, by its square.
        bias_factors={"q_proj": 1 / given, "k_proj": 1 / given}
        | dict.fromkeys(("v_proj", "o_proj"), taken / out),
    )
    gate, down = _numbers(fields, "mlp_multipliers", 2)

    def layer(index: int) -> Layer:
        prefix = f"model.layers.{index}."
        first, second = (
            Norm(f"{prefix}{name}_layernorm.weight", eps / out**2) for name in ("input", "pre_ff")
        )
        factors = {"gate_proj": gate, "up_proj": down / out}
        mlp = Mlp(
            prefix + "feed_forward.",
            d_model,
            width,
            bias=fields.flag("mlp_bias", False),
            factors=factors,
            bias_factors=factors | {"down_proj": down / out},
        )
        pair = (mixer(prefix + "mamba."), attention(prefix + "self_attn."))
        return Layer((Residual(first, pair), Residual(second, (mlp,))))

    embeddings = "model.embed_tokens.weight"
    layers = tuple(layer(i) for i in range(fields.size("num_hidden_layers", most=MAX_LAYERS)))
    attending = attention("")
    return ModelConfig(
        model_type=MODEL_TYPE,
        vocab_size=fields.size("vocab_size", most=MAX_VOCABULARY),
        d_model=d_model,
        layers=layers,
        embeddings=embeddings,
        final_norm=Norm("model.final_layernorm.weight", eps / out**2),
        head=embeddings if fields.flag("tie_word_embeddings", False) else "lm_head.weight",
        sizes={
            **mamba2_sizes(mixer("")),
            "mlp": width,
            "attention_heads": attending.heads,
            "kv_heads": attending.kv_heads,
        },
        embedding_scale=fields.number("embedding_multiplier", 1.0) / out,
        logits_scale=fields.number("lm_head_multiplier", 1.0),
        context=context_of(fields),
        positions=positions_of(fields),
    )


def _numbers(fields: Fields, name: str, count: int) -> list[float]:
    """Return multipliers, ones where there are none."""
    found = fields.get(name)
    if found is None:
        return [1.0] * count
    if not isinstance(found, list | tuple) or len(found) != count:
        raise CheckpointError(f"config.json: {name}={shown(found)}: is no list of {count} numbers")
    return [Fields({name: value}).number(name) for value in found]
