"""``granitemoehybrid``: Granite 4.0-H: Mamba-2 or attention, then an MLP, beside experts or alone.

In this family a residual adds ``r * block(norm(h))``, and the stream begins with ``m`` times the
embeddings. Here it is ``h / r``: it begins with ``m / r`` times the embeddings, blocks add what
they give, and norms with ``eps / r^2`` are the same.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.blocks import Experts, Mlp
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import (
    MAMBA2_WORDS,
    attention_of,
    layer_kinds,
    mamba2_of,
    rotary_base,
)
from tvm_c4n.model.families.hybrid_model import hybrid_model, mamba2_sizes
from tvm_c4n.model.families.reader import MAX_EXPERTS, MAX_LAYERS, Fields
from tvm_c4n.model.rows import Rows

MODEL_TYPE = "granitemoehybrid"
ARCHITECTURE = "GraniteMoeHybridForCausalLM"


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    fields.only("hidden_act", ("silu",), "silu")
    fields.require("vocab_size", "hidden_size", "num_hidden_layers", "shared_intermediate_size")
    d_model = fields.size("hidden_size", most=1 << 16)
    eps = fields.eps("rms_norm_eps", default=1e-6)
    mixer = mamba2_of(fields, d_model, int(fields.number("mamba_expand", 2) * d_model), eps)
    rotates = fields.get("position_embedding_type") == "rope"
    theta = rotary_base(fields) if rotates else None
    attention = attention_of(fields, d_model, fields.number("attention_multiplier", 1.0), theta)
    width = fields.size("shared_intermediate_size")
    experts = _experts_of(fields, d_model)
    residual = fields.number("residual_multiplier", 1.0)

    def layer(index: int, kind: str) -> Layer:
        prefix = f"model.layers.{index}."
        attends = kind == "attention"
        block = attention(prefix + "self_attn.") if attends else mixer(prefix + "mamba.")
        mlp = Mlp(
            prefix + "shared_mlp.",
            d_model,
            width,
            gate=Rows("input_linear.weight", 0, width).name,
            up=Rows("input_linear.weight", width, 2 * width).name,
            down="output_linear.weight",
        )
        before, behind = (
            Norm(f"{prefix}{name}_layernorm.weight", eps / residual**2)
            for name in ("input", "post_attention")
        )
        own = (mlp,) if experts is None else (experts(prefix + "block_sparse_moe."), mlp)
        return Layer((Residual(before, (block,)), Residual(behind, own)))

    kinds = layer_kinds(fields, MAMBA2_WORDS, "layer_types", "layers_block_type")
    if kinds is None:
        kinds = ["mamba2"] * fields.size("num_hidden_layers", most=MAX_LAYERS)
    return hybrid_model(
        fields,
        MODEL_TYPE,
        kinds,
        layer,
        attention(""),
        final_norm=Norm("model.norm.weight", eps / residual**2),
        sizes={**mamba2_sizes(mixer("")), "mlp": width, **_sizes_of(experts)},
        embedding_scale=fields.number("embedding_multiplier", 1.0) / residual,
        logits_scale=1 / fields.number("logits_scaling", 1.0),
    )


def _experts_of(fields: Fields, d_model: int) -> Callable[[str], Experts] | None:
    """Read the fields of the experts; returns their block of a prefix, None where there are none.

    Raises
    ------
    CheckpointError
        A token has more experts than there are.
    """
    # transformers' default is 8: a config without the field is no dense model.
    if fields.get("num_local_experts") == 0:
        return None
    count = fields.size("num_local_experts", 8, most=MAX_EXPERTS)
    chosen = fields.size("num_experts_per_tok", 2, most=MAX_EXPERTS)
    if chosen > count:
        raise CheckpointError(
            f"config.json: num_experts_per_tok={chosen} is more than num_local_experts={count}"
        )
    fields.require("intermediate_size")
    width = fields.size("intermediate_size")
    return lambda prefix: Experts(
        prefix,
        d_model,
        count,
        chosen,
        width,
        router="router.layer.weight",
        gate=Rows("input_linear.weight", 0, width, each=count).name,
        up=Rows("input_linear.weight", width, 2 * width, each=count).name,
        down=Rows("output_linear.weight", 0, d_model, each=count).name,
    )


def _sizes_of(experts: Callable[[str], Experts] | None) -> dict[str, int]:
    if experts is None:
        return {}
    example = experts("")
    return {"experts": example.experts, "chosen": example.chosen, "expert": example.width}
