"""``nemotron_h``: layers of one block each: Mamba-2, attention without positions, or an MLP.

The MLP is a squared ReLU without a gate. Every tensor of a block is called ``mixer``, whatever it
is. Files name the layers by words, or by a string of letters.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.blocks import Mamba2, Mlp
from tvm_c4n.model.description import Block, Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import (
    MAMBA2_WORDS,
    attention_of,
    layer_kinds,
)
from tvm_c4n.model.families.hybrid_model import hybrid_model, mamba2_sizes
from tvm_c4n.model.families.reader import MAX_CHANNELS, Fields

MODEL_TYPE = "nemotron_h"
ARCHITECTURE = "NemotronHForCausalLM"
_WORDS = MAMBA2_WORDS | {"mlp": "mlp", "moe": "experts"}
_LETTERS = {"M": "mamba2", "*": "attention", "-": "mlp", "E": "experts"}


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    fields.only("mamba_hidden_act", ("silu",), "silu")
    fields.only("mlp_hidden_act", ("relu2",), "relu2")
    fields.only("attention_bias", (False,), False)
    fields.require("vocab_size", "hidden_size")
    kinds = layer_kinds(fields, _WORDS, "layers_block_type", "layer_types")
    kinds = kinds or layer_kinds(fields, _LETTERS, "hybrid_override_pattern")
    if kinds is None:
        raise CheckpointError("config.json lacks layers_block_type, or hybrid_override_pattern")
    if "experts" in kinds:
        raise CheckpointError(
            "layers of experts (words 'moe', letters 'E') are not supported in nemotron_h: a "
            "mixture of experts (MoE)"
        )
    d_model = fields.size("hidden_size", most=1 << 16)
    eps = fields.eps("layer_norm_epsilon", default=1e-5)
    mixer, width = _mixer(fields, d_model, eps), fields.size("intermediate_size", 21504)
    attending = attention_of(fields, d_model, None, None, head_dim=128)("")
    blocks: dict[str, Block] = {
        "mamba2": mixer,
        "attention": attending,
        "mlp": Mlp("", d_model, width, gate=None, bias=fields.flag("mlp_bias", False)),
    }

    def layer(index: int, kind: str) -> Layer:
        prefix = f"backbone.layers.{index}."
        block = replace(blocks[kind], prefix=prefix + "mixer.")
        return Layer((Residual(Norm(prefix + "norm.weight", eps), (block,)),))

    return hybrid_model(
        fields,
        MODEL_TYPE,
        kinds,
        layer,
        attending,
        final_norm=Norm("backbone.norm_f.weight", eps),
        sizes={
            **mamba2_sizes(mixer),
            "mlp": width,
            "mlp_layers": kinds.count("mlp"),
            "attention_dim": attending.head_dim,
        },
        embeddings="backbone.embeddings.weight",
        tied=False,  # transformers ties it to nothing, whatever the file says
    )


def _mixer(fields: Fields, d_model: int, eps: float) -> Mamba2:
    """Read the fields of the mixer, whose channels need not be a multiple of the hidden ones."""
    heads, groups = fields.multiple("mamba_num_heads", 128, "n_groups", 8)
    head_dim = fields.size("mamba_head_dim", 64)
    if heads * head_dim > MAX_CHANNELS:
        raise CheckpointError(
            f"config.json: mamba_num_heads={heads} times mamba_head_dim={head_dim} is more than "
            f"{MAX_CHANNELS}"
        )
    return Mamba2(
        "",
        d_model,
        heads,
        head_dim,
        groups,
        d_state=fields.size("ssm_state_size", 128, most=1024),
        d_conv=fields.size("conv_kernel", 4, most=64),
        conv_bias=fields.flag("use_conv_bias", True),
        in_bias=fields.flag("use_bias", False),
        out_bias=fields.flag("use_bias", False),
        norm_eps=eps,
        # transformers clamps by this one, whatever time_step_limit says.
        limits=(fields.number("time_step_min", 0.001), inf),
    )
