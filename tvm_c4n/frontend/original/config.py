"""The authors' configs, in the words of Hugging Face's.

state-spaces (mamba_ssm's `MambaConfig`) has a config.json whose ``ssm_cfg`` holds arguments of the
mixer's constructor; Codestral Mamba has Mistral's params.json. Fields that only say how weights are
first drawn, or how mamba_ssm computes, are ignored; what would change the model is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, NoReturn

from tvm_c4n.checkpoint.original import PARAMS
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.families.reader import MAX_LAYERS, MAX_VOCABULARY, Fields

_CONFIG = "config.json"
# mamba_ssm has it as a constant.
_EPS = 1e-5
# Arguments of the mixers that do not change what a trained model computes.
_INITIAL = (
    "dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "A_init_range", "conv_init",
    "use_fast_path", "use_mem_eff_path", "chunk_size", "sequence_parallel", "process_group",
)  # fmt: skip
_MAMBA1 = ("layer", "d_state", "d_conv", "expand", "dt_rank", "conv_bias", "bias")
_MAMBA2 = (
    "layer", "d_state", "d_conv", "expand", "headdim", "d_ssm", "ngroups", "D_has_hdim", "rmsnorm",
    "norm_before_gate", "dt_limit", "conv_bias", "bias",
)  # fmt: skip


def of_state_spaces(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return Hugging Face's config of a model of state-spaces.

    Parameters
    ----------
    content : mapping
        Of its config.json.

    Raises
    ------
    CheckpointError
        A field is missing or out of range, or the model has attention, an MLP, LayerNorms, or a
        mixer that is neither Mamba-1 nor Mamba-2.
    """
    fields = Fields(content, _CONFIG)
    if fields.get("attn_layer_idx"):
        _refuse("attn_layer_idx", content, "layers with attention are not supported")
    if fields.get("d_intermediate"):
        _refuse("d_intermediate", content, "layers with an MLP are not supported")
    ssm = content.get("ssm_cfg") or {}
    if not isinstance(ssm, dict):
        _refuse("ssm_cfg", content, "is not an object")
    layer = ssm.get("layer", "Mamba1")
    if layer not in ("Mamba1", "Mamba2"):
        _refuse("layer", ssm, "only 'Mamba1' and 'Mamba2' are supported", f"{_CONFIG}: ssm_cfg")
    fields.require("d_model", "n_layer", "vocab_size")
    sizes = _sizes(fields, "d_model", "n_layer", pad=8, tied=True)
    # The tokenizer is GPT-NeoX's: <|endoftext|>.
    tokens = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    mixer = _mamba1 if layer == "Mamba1" else _mamba2
    return sizes | tokens | mixer(ssm, sizes["hidden_size"])


def of_codestral(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return Hugging Face's config of Codestral Mamba.

    Parameters
    ----------
    content : mapping
        Of its params.json.

    Raises
    ------
    CheckpointError
        A field is missing or out of range, or it is another model of Mistral's.
    """
    fields = Fields(content, PARAMS)
    if content.get("model_type") != "mamba":
        _refuse("model_type", content, "only 'mamba', Codestral's, is supported", PARAMS)
    fields.require("dim", "n_layers", "vocab_size")
    sizes = _sizes(fields, "dim", "n_layers", pad=1, tied=False)
    groups = fields.size("n_groups", 1)
    # Mistral's tokenizers begin with <unk>, <s> and </s>.
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return sizes | tokens | _mamba2({"ngroups": groups}, sizes["hidden_size"])


def _sizes(fields: Fields, width: str, depth: str, *, pad: int, tied: bool) -> dict[str, Any]:
    """Read what all models have; the vocabulary is that of the stored tensors, with padding."""
    fields.only("rms_norm", (True,), True)
    vocab = fields.size("vocab_size", most=MAX_VOCABULARY)
    multiple = fields.size("pad_vocab_size_multiple", pad, most=1 << 16)
    return {
        "vocab_size": vocab + -vocab % multiple,
        "hidden_size": fields.size(width, most=1 << 16),
        "num_hidden_layers": fields.size(depth, most=MAX_LAYERS),
        "residual_in_fp32": fields.flag("residual_in_fp32", True),
        "tie_word_embeddings": fields.flag("tie_embeddings", tied),
        "layer_norm_epsilon": _EPS,
        "hidden_act": "silu",
    }


def _mixer(ssm: Mapping[str, Any], known: tuple[str, ...]) -> Fields:
    """Return the fields of a mixer; one that nobody knows may change what it computes."""
    unknown = [name for name in ssm if name not in (*known, *_INITIAL)]
    if unknown:
        raise CheckpointError(
            f"{_CONFIG}: ssm_cfg: {shown(unknown[0])} is not known, so the model may be another "
            "one than it seems; only those of mamba_ssm's Mamba and Mamba2 are"
        )
    return Fields(ssm, f"{_CONFIG}: ssm_cfg")


def _mamba1(ssm: Mapping[str, Any], d_model: int) -> dict[str, Any]:
    fields = _mixer(ssm, _MAMBA1)
    auto = fields.get("dt_rank") in (None, "auto")
    expand = fields.size("expand", 2)
    return {
        "model_type": "mamba",
        "expand": expand,
        "intermediate_size": expand * d_model,
        "state_size": fields.size("d_state", 16, most=1024),
        "conv_kernel": fields.size("d_conv", 4, most=64),
        "time_step_rank": ceil(d_model / 16) if auto else fields.size("dt_rank", most=1 << 16),
        "use_bias": fields.flag("bias", False),
        "use_conv_bias": fields.flag("conv_bias", True),
    }


def _mamba2(ssm: Mapping[str, Any], d_model: int) -> dict[str, Any]:
    fields = _mixer(ssm, _MAMBA2)
    fields.only("rmsnorm", (True,), True)
    fields.only("norm_before_gate", (False,), False)
    fields.only("D_has_hdim", (False,), False)
    expand, head_dim = fields.size("expand", 2), fields.size("headdim", 64)
    inner = expand * d_model
    fields.only("d_ssm", (None, inner), None)
    if inner % head_dim:
        _refuse("headdim", {"headdim": head_dim}, f"does not divide the {inner} inner channels")
    found = {
        "model_type": "mamba2",
        "expand": expand,
        "num_heads": inner // head_dim,
        "head_dim": head_dim,
        "n_groups": fields.size("ngroups", 1),
        "state_size": fields.size("d_state", 128, most=1024),
        "conv_kernel": fields.size("d_conv", 4, most=64),
        "use_bias": fields.flag("bias", False),
        "use_conv_bias": fields.flag("conv_bias", True),
    }
    if fields.get("dt_limit") is not None:
        found["time_step_limit"] = fields.get("dt_limit")
    return found


def _refuse(name: str, content: Mapping[str, Any], why: str, where: str = _CONFIG) -> NoReturn:
    raise CheckpointError(f"{where}: {name}={shown(content.get(name))}: {why}")
