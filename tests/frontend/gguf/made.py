"""Random models as GGUF files, as llama.cpp's converter writes them.

Names, shapes and what is done to numbers are written down here as its `conversion` folder has them;
nothing is asked of the package. The converter itself wrote the same bytes of tensors for models of
each family: docs/guides/gguf.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize
from numpy.typing import NDArray
from safetensors.numpy import load_file

ARCHITECTURES = {
    "mamba": gguf.MODEL_ARCH.MAMBA,
    "falcon_mamba": gguf.MODEL_ARCH.MAMBA,
    "mamba2": gguf.MODEL_ARCH.MAMBA2,
    "granitemoehybrid": gguf.MODEL_ARCH.GRANITE_HYBRID,
    "falcon_h1": gguf.MODEL_ARCH.FALCON_H1,
    "lfm2": gguf.MODEL_ARCH.LFM2,
}
# Byte-level BPE: the 256 bytes, two merges, a special token, and places that are not used.
BYTES = [chr(b) for b in [*range(33, 127), *range(161, 173), *range(174, 256)]]
BYTES += [chr(256 + i) for i in range(256 - len(BYTES))]
MERGES = ["h e", "he y"]


def write_gguf(
    folder: Path,
    out: Path,
    kind: Type = Type.F32,
    *,
    more: dict[str, Any] | None = None,
    vocabulary: bool = False,
) -> Path:
    """Write the GGUF file of a Hugging Face folder; matrices are of a type, all else is F32.

    Keys of `more` are written as well; `vocabulary` adds one, which has more tokens than the model.
    """
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    family = config["model_type"]
    writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[family]])
    _add_keys(writer, config)
    if vocabulary:
        add_vocabulary(writer)
    for name, value in (more or {}).items():
        writer.add_key_value(name, value, gguf.GGUFValueType.get_type(value))
    for name, values in tensors.items():
        for theirs, array in _tensors(name, values.astype(np.float32), config):
            matrix = array.ndim == 2 and not any(
                part in theirs for part in ("ssm_a", "ssm_d", "norm", "shortconv.conv")
            )
            own = kind if matrix and "conv1d" not in theirs else Type.F32
            writer.add_tensor(theirs, quantize(np.ascontiguousarray(array), own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def add_vocabulary(writer: gguf.GGUFWriter, pre: str = "gpt-2", *, spare: int = 3) -> None:
    """Add a vocabulary of 256 bytes, ``he``, ``hey``, ``<|end|>``, ``<tool>`` and spare places."""
    types = gguf.TokenType
    tokens = [*BYTES, "he", "hey", "<|end|>", "<tool>", *(f"[PAD{i}]" for i in range(spare))]
    kinds = [types.NORMAL] * 258 + [types.CONTROL, types.USER_DEFINED] + [types.UNUSED] * spare
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(258)
    writer.add_eos_token_id(258)
    writer.add_eot_token_id(259)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{{ messages[0].content }}")


def _add_keys(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    family = config["model_type"]
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config.get("max_position_embeddings", 1 << 20))
    if family == "lfm2":
        _add_lfm2(writer, config)
        return
    inner, heads = _inner(config), config.get("num_heads", config.get("mamba_n_heads"))
    # Granite's converter writes the width of the experts, which a dense model has not.
    writer.add_feed_forward_length(config.get("intermediate_size", 0) if heads else 0)
    eps = config.get("layer_norm_epsilon", config.get("rms_norm_eps", 1e-5))
    writer.add_layer_norm_rms_eps(eps)
    writer.add_ssm_conv_kernel(config.get("conv_kernel", config.get("mamba_d_conv")))
    writer.add_ssm_state_size(config.get("state_size", config.get("mamba_d_state")))
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_time_step_rank(heads or config["time_step_rank"])
    if heads is None:
        writer.add_ssm_dt_b_c_rms(family == "falcon_mamba")
        return
    writer.add_ssm_group_count(config.get("n_groups", config.get("mamba_n_groups")))
    if family == "mamba2":
        return
    writer.add_head_count(config["num_attention_heads"])
    if family == "falcon_h1":
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_key_length(_head_dim(config))
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
        return
    attends = ["attention" in kind and "linear" not in kind for kind in config["layer_types"]]
    writer.add_head_count_kv([config["num_key_value_heads"] * one for one in attends])
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])
    writer.add_rope_scaling_finetuned(config.get("position_embedding_type") == "rope")


def _add_lfm2(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    attends = [kind == "full_attention" for kind in config["layer_types"]]
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([config["num_key_value_heads"] * one for one in attends])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    width = config["intermediate_size"]
    if config["block_auto_adjust_ff_dim"]:
        multiple = config["block_multiple_of"]
        width = -(-int(2 * width / 3) // multiple) * multiple
    writer.add_feed_forward_length(width)


def _inner(config: dict[str, Any]) -> int:
    if config.get("mamba_d_ssm"):
        return int(config["mamba_d_ssm"])
    if config["model_type"] in ("mamba", "falcon_mamba"):
        return int(config["intermediate_size"])
    return int(config.get("expand", config.get("mamba_expand")) * config["hidden_size"])


def _head_dim(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _tensors(
    name: str, values: NDArray[np.float32], config: dict[str, Any]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Return the tensors that the converter makes of one."""
    family, layers = config["model_type"], config["num_hidden_layers"]
    if "shared_mlp.input_linear" in name:
        gate, up = np.split(values, 2)
        block = name.split(".")[2]
        return [(f"blk.{block}.ffn_gate.weight", gate), (f"blk.{block}.ffn_up.weight", up)]
    table = gguf.get_tensor_name_map(ARCHITECTURES[family], layers)
    plain = name.replace("shared_mlp.output_linear", "mlp.down_proj")
    plain = plain.replace(".dt_bias", ".dt_proj.bias")
    theirs = table.get_name(plain, try_suffixes=(".weight", ".bias"))
    assert theirs is not None, name
    groups = config.get("n_groups", config.get("mamba_n_groups"))
    if family == "falcon_h1":
        values = values * _factor(name, config)
    if name.endswith("A_log"):
        values = -np.exp(values)
    if "conv1d.weight" in name or "conv.conv.weight" in name:
        values = values.squeeze()
    if theirs.endswith(("ssm_a", "ssm_d")) and groups:
        values = values[:, None]
    if "ssm_norm" in theirs:
        values = values.reshape(groups, -1)
    counts = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    for part, count in counts.items():
        if family == "granitemoehybrid" and part in name:
            halves = values.reshape(config[count], 2, -1, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
    return [(theirs, values)]


def _factor(name: str, config: dict[str, Any]) -> Any:
    """Return what Falcon-H1's multipliers make of a tensor."""
    given = config["attention_in_multiplier"]
    inner, bc = config["mamba_d_ssm"], config["mamba_n_groups"] * config["mamba_d_state"]
    rows = np.repeat(config["ssm_multipliers"], [inner, inner, bc, bc, config["mamba_n_heads"]])
    factors: dict[str, Any] = {
        "down_proj": config["mlp_multipliers"][1], "gate_proj": config["mlp_multipliers"][0],
        "k_proj": given * config["key_multiplier"], "q_proj": given, "v_proj": given,
        "o_proj": config["attention_out_multiplier"], "out_proj": config["ssm_out_multiplier"],
        "in_proj": rows[:, None] * config["ssm_in_multiplier"],
        "lm_head": config["lm_head_multiplier"], "embed_tokens": config["embedding_multiplier"],
    }  # fmt: skip
    words = name.split(".")
    return next((factor for part, factor in factors.items() if part in words), 1.0)
