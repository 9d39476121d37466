"""``qwen3_5_text``: Qwen3.5's text models: gated delta nets or gated attention, then an MLP.

Norms of the stream, of queries and of keys store what their weights have beyond one.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.blocks import DeltaNet, Mlp
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import (
    attention_of,
    layer_kinds,
    rotary_base,
    rotary_fraction,
)
from tvm_c4n.model.families.hybrid_model import hybrid_model
from tvm_c4n.model.families.reader import MAX_CHANNELS, MAX_LAYERS, Fields

MODEL_TYPE = "qwen3_5_text"
ARCHITECTURE = "Qwen3_5ForCausalLM"
_WORDS = {"linear_attention": "delta_net", "full_attention": "attention"}


def read(fields: Fields, *, model_type: str = MODEL_TYPE, root: str = "model.") -> ModelConfig:
    """Describe the model of a config.json; the names of its tensors begin with `root`."""
    fields.only("hidden_act", ("silu",), "silu")
    fields.only("attn_output_gate", (True,), True)
    fields.require("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
    fields.require("num_attention_heads", "num_key_value_heads", "head_dim")
    d_model = fields.size("hidden_size", most=1 << 16)
    width, eps = fields.size("intermediate_size"), fields.eps("rms_norm_eps", default=1e-6)
    mixer = _delta_net(fields, d_model, eps)
    attention = attention_of(
        fields,
        d_model,
        None,
        rotary_base(fields),
        fraction=rotary_fraction(fields, 0.25),
        head_norms=(Norm("q_norm.weight", eps, 1.0), Norm("k_norm.weight", eps, 1.0)),
        gated=True,
    )

    def layer(index: int, kind: str) -> Layer:
        prefix, attends = f"{root}layers.{index}.", kind == "attention"
        block = attention(prefix + "self_attn.") if attends else mixer(prefix + "linear_attn.")
        first, second = (
            Norm(f"{prefix}{name}_layernorm.weight", eps, 1.0)
            for name in ("input", "post_attention")
        )
        mlp = Mlp(prefix + "mlp.", d_model, width)
        return Layer((Residual(first, (block,)), Residual(second, (mlp,))))

    kinds = layer_kinds(fields, _WORDS, "layer_types")
    if kinds is None:
        count = fields.size("num_hidden_layers", most=MAX_LAYERS)
        every = fields.size("full_attention_interval", 4)
        kinds = ["delta_net" if index % every else "attention" for index in range(1, count + 1)]
    example, attending = mixer(""), attention("")
    return hybrid_model(
        fields,
        model_type,
        kinds,
        layer,
        attending,
        final_norm=Norm(f"{root}norm.weight", eps, 1.0),
        embeddings=f"{root}embed_tokens.weight",
        sizes={
            "heads": example.heads,
            "head_dim": example.head_dim,
            "key_heads": example.key_heads,
            "key_dim": example.key_dim,
            "conv": example.d_conv,
            "mlp": width,
            "attention_dim": attending.head_dim,
        },
    )


def _delta_net(fields: Fields, d_model: int, eps: float) -> Callable[[str], DeltaNet]:
    """Read the fields ``linear_*``; returns the mixer of a prefix."""
    heads, key_heads = fields.multiple("linear_num_value_heads", 32, "linear_num_key_heads", 16)
    head_dim, key_dim = (
        fields.size(f"linear_{name}_head_dim", 128, most=1024) for name in ("value", "key")
    )
    conv = fields.size("linear_conv_kernel_dim", 4, most=64)
    if 2 * key_heads * key_dim + heads * head_dim > MAX_CHANNELS:
        raise CheckpointError(
            f"config.json: the heads of linear_* have more than {MAX_CHANNELS} channels"
        )
    return lambda prefix: DeltaNet(prefix, d_model, key_heads, key_dim, heads, head_dim, conv, eps)
