"""What llama.cpp is told of a model beside its tensors, as its own converter tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tvm_c4n.model.description import ModelConfig

_ARCH = gguf.MODEL_ARCH
ARCHITECTURES = {
    "mamba": _ARCH.MAMBA, "mamba2": _ARCH.MAMBA2, "granitemoehybrid": _ARCH.GRANITE_HYBRID,
    "falcon_h1": _ARCH.FALCON_H1, "lfm2": _ARCH.LFM2, "qwen3_5_text": _ARCH.QWEN35,
}  # fmt: skip
Fields = Mapping[str, Any]
# Falcon-H1: what the numbers of a tensor are multiplied by.
_FACTORS: dict[str, Callable[[Fields], Any]] = {
    "embed_tokens.": lambda f: f["embedding_multiplier"],
    "lm_head.": lambda f: f["lm_head_multiplier"],
    "q_proj.": lambda f: f["attention_in_multiplier"],
    "k_proj.": lambda f: f["attention_in_multiplier"] * f["key_multiplier"],
    "v_proj.": lambda f: f["attention_in_multiplier"],
    "o_proj.": lambda f: f["attention_out_multiplier"],
    "mamba.in_proj.": lambda f: _rows_of_in_proj(f)[:, None] * f["ssm_in_multiplier"],
    "mamba.out_proj.": lambda f: f["ssm_out_multiplier"],
    "gate_proj.": lambda f: f["mlp_multipliers"][0],
    "down_proj.": lambda f: f["mlp_multipliers"][1],
}


def add_sizes(writer: gguf.GGUFWriter, config: ModelConfig, fields: Fields) -> None:
    """Add sizes and scalars of a model, of which `fields` is the config.json."""
    sizes, family = config.sizes, config.model_type
    writer.add_context_length(config.context or 2**20)  # without one, as llama.cpp's converter
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layer)
    writer.add_feed_forward_length(sizes.get("mlp", 0))
    writer.add_head_count(sizes.get("attention_heads", 0))
    writer.add_layer_norm_rms_eps(fields.get("rms_norm_eps", config.final_norm.eps))
    if family in ("granitemoehybrid", "lfm2"):  # those of the others are the same in each layer
        attends = [any(b.kind == "attention" for b in layer.blocks) for layer in config.layers]
        writer.add_head_count_kv([sizes["kv_heads"] * here for here in attends])
    elif "kv_heads" in sizes:
        writer.add_head_count_kv(sizes["kv_heads"])
        writer.add_key_length(fields["head_dim"])
        writer.add_value_length(fields["head_dim"])
    rope = fields.get("rope_parameters", fields)
    if family != "granitemoehybrid" and "rope_theta" in rope:
        writer.add_rope_freq_base(rope["rope_theta"])
    if family == "lfm2":
        writer.add_vocab_size(config.vocab_size)
        writer.add_shortconv_l_cache(sizes["conv"])
        return
    writer.add_ssm_conv_kernel(sizes["conv"])
    writer.add_ssm_state_size(sizes.get("state") or sizes["key_dim"])
    writer.add_ssm_inner_size(sizes.get("inner") or sizes["heads"] * sizes["head_dim"])
    writer.add_ssm_time_step_rank(sizes.get("dt_rank") or sizes["heads"])
    if family == "mamba":
        writer.add_ssm_dt_b_c_rms(False)
        return
    writer.add_ssm_group_count(sizes.get("groups") or sizes["key_heads"])
    if family == "granitemoehybrid":
        writer.add_attention_scale(fields["attention_multiplier"])
        writer.add_embedding_scale(fields["embedding_multiplier"])
        writer.add_residual_scale(fields["residual_multiplier"])
        writer.add_logit_scale(fields["logits_scaling"])
        writer.add_rope_scaling_finetuned(False)  # no rotation
    if family == "qwen3_5_text":
        writer.add_rope_dimension_count(int(fields["head_dim"] * rope["partial_rotary_factor"]))
        writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
        writer.add_full_attention_interval(fields["full_attention_interval"])


def factor_of(name: str, fields: Fields) -> Any:
    """Return what a tensor is multiplied by: a number, or one of each row (rows, 1)."""
    factors = _FACTORS if fields["model_type"] == "falcon_h1" else {}
    return next((factor(fields) for part, factor in factors.items() if part in name), 1.0)


def _rows_of_in_proj(fields: Fields) -> NDArray[np.float64]:
    """Return the multipliers of z, x, B, C and dt, one of each row."""
    inner, bc = fields["mamba_d_ssm"], fields["mamba_n_groups"] * fields["mamba_d_state"]
    counts = [inner, inner, bc, bc, fields["mamba_n_heads"]]
    return np.repeat(np.asarray(fields["ssm_multipliers"]), counts)
