"""``lfm2``: LFM2 and LFM2.5: a gated short convolution or attention, then an MLP; no scan.

Files of Liquid AI's own code have other words for a few fields, and name the layers that attend.
"""

from __future__ import annotations

from tvm_c4n.model.blocks import Mlp, ShortConv
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import (
    attention_layers,
    attention_of,
    layer_kinds,
    rotary_base,
)
from tvm_c4n.model.families.hybrid_model import hybrid_model
from tvm_c4n.model.families.reader import MAX_LAYERS, Fields

MODEL_TYPE = "lfm2"
ARCHITECTURE = "Lfm2ForCausalLM"
_KINDS = {"conv": "short_conv", "full_attention": "attention", "attention": "attention"}


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    fields.require("vocab_size", "hidden_size", "num_hidden_layers")
    d_model = fields.size("hidden_size", most=1 << 16)
    eps = fields.eps("norm_eps", default=1e-5)
    taps, bias = fields.size("conv_L_cache", 3, most=64), fields.flag("conv_bias", False)
    head_norms = (Norm("q_layernorm.weight", eps), Norm("k_layernorm.weight", eps))
    attention = attention_of(
        fields, d_model, None, rotary_base(fields, 1e6), head_norms=head_norms, output="out_proj"
    )
    width = _mlp_width(fields)

    def layer(index: int, kind: str) -> Layer:
        prefix = f"model.layers.{index}."
        block = (
            attention(prefix + "self_attn.")
            if kind == "attention"
            else ShortConv(prefix + "conv.", d_model, taps, bias)
        )
        mlp = Mlp(prefix + "feed_forward.", d_model, width, "w1.weight", "w3.weight", "w2.weight")
        norms = (Norm(f"{prefix}{name}_norm.weight", eps) for name in ("operator", "ffn"))
        return Layer(tuple(Residual(n, (b,)) for n, b in zip(norms, (block, mlp), strict=True)))

    kinds = layer_kinds(fields, _KINDS, "layer_types")
    if kinds is None:
        every = list(range(fields.size("num_hidden_layers", most=MAX_LAYERS)))
        kinds = attention_layers(fields, "full_attn_idxs", every, "short_conv")
    return hybrid_model(
        fields,
        MODEL_TYPE,
        kinds,
        layer,
        attention(""),
        final_norm=Norm("model.embedding_norm.weight", eps),
        sizes={"conv": taps, "mlp": width},
        tied=fields.flag(_tie(fields), True),
    )


def _tie(fields: Fields) -> str:
    """Return the field that says whether the head is tied; the first of both counts."""
    return "tie_word_embeddings" if fields.get("tie_embedding") is None else "tie_embedding"


def _mlp_width(fields: Fields) -> int:
    """Return the MLP's channels: two thirds of what the file says, rounded up, unless told not to.

    A gated MLP of two thirds of the channels has as many weights as one without a gate.
    """
    own = fields.get("block_ff_dim") is not None
    width = fields.size("block_ff_dim" if own else "intermediate_size")
    if not fields.flag("block_auto_adjust_ff_dim", True):
        return width
    times = fields.number("block_ffn_dim_multiplier", 1.0)
    multiple = fields.size("block_multiple_of", 256)
    width = int(times * int(2 * width / 3))
    name = "the MLP's width, of intermediate_size and block_multiple_of"
    return Fields({name: -(-width // multiple) * multiple}).size(name)
