"""``bamba``: Mamba-2 or attention that rotates half of a head, then an MLP."""

from __future__ import annotations

from tvm_c4n.model.blocks import Mlp
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import (
    MAMBA2_WORDS,
    attention_layers,
    attention_of,
    layer_kinds,
    mamba2_of,
    rotary_base,
    rotary_fraction,
)
from tvm_c4n.model.families.hybrid_model import hybrid_model, mamba2_sizes
from tvm_c4n.model.families.reader import Fields

MODEL_TYPE = "bamba"
ARCHITECTURE = "BambaForCausalLM"


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    fields.only("hidden_act", ("silu",), "silu")
    fields.require("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
    d_model, width = fields.size("hidden_size", most=1 << 16), fields.size("intermediate_size")
    eps = fields.eps("rms_norm_eps", default=1e-5)
    mixer = mamba2_of(fields, d_model, int(fields.number("mamba_expand", 2) * d_model), eps)
    theta = rotary_base(fields)
    # No file says so: transformers rotates one half, whatever else there is.
    attention = attention_of(fields, d_model, None, theta, fraction=rotary_fraction(fields, 0.5))

    def layer(index: int, kind: str) -> Layer:
        prefix = f"model.layers.{index}."
        attends = kind == "attention"
        block = attention(prefix + "self_attn.") if attends else mixer(prefix + "mamba.")
        mlp = Mlp(prefix + "feed_forward.", d_model, width, bias=fields.flag("mlp_bias", False))
        norms = (Norm(f"{prefix}{name}_layernorm.weight", eps) for name in ("input", "pre_ff"))
        return Layer(tuple(Residual(n, (b,)) for n, b in zip(norms, (block, mlp), strict=True)))

    kinds = layer_kinds(fields, MAMBA2_WORDS, "layer_types", "layers_block_type")
    if kinds is None:
        kinds = attention_layers(fields, "attn_layer_indices", [], "mamba2")
    return hybrid_model(
        fields,
        MODEL_TYPE,
        kinds,
        layer,
        attention(""),
        final_norm=Norm("model.final_layernorm.weight", eps),
        sizes={**mamba2_sizes(mixer("")), "mlp": width},
    )
