"""Tensors of a GGUF file under Hugging Face's names, as Hugging Face has them.

llama.cpp's converter stores A instead of its logarithm, drops and adds axes of one, and puts the
channels of queries and keys, in pairs as they are rotated, next to each other. Here that is undone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.frontend.gguf.file import AGAIN, STORED, GgufFile

_LAYER = re.compile(r"blk\.(\d{1,5})\.(.+)")
_MIXER = {
    "ssm_in.": "in_proj.", "ssm_conv1d.": "conv1d.", "ssm_out.": "out_proj.", "ssm_a": "A_log",
    "ssm_d": "D",
}  # fmt: skip
_MAMBA1 = {**_MIXER, "ssm_x.": "x_proj.", "ssm_dt.": "dt_proj."}
_MAMBA2 = {**_MIXER, "ssm_dt.bias": "dt_bias", "ssm_norm.": "norm."}
_ATTENTION = {
    "attn_q.": "q_proj.",
    "attn_k.": "k_proj.",
    "attn_v.": "v_proj.",
    "attn_output.": "o_proj.",
}


def _within(prefix: str, names: dict[str, str]) -> dict[str, str]:
    return {theirs: prefix + ours for theirs, ours in names.items()}


# Of each family: how names begin outside of layers, and in each of them.
_BACKBONE = {
    "token_embd.": "backbone.embeddings.",
    "output_norm.": "backbone.norm_f.",
    "output.": "lm_head.",
}
_MODEL = {"token_embd.": "model.embed_tokens.", "output.": "lm_head."}
_OUTSIDE = {
    "mamba": _BACKBONE, "falcon_mamba": _BACKBONE, "mamba2": _BACKBONE,
    "granitemoehybrid": {**_MODEL, "output_norm.": "model.norm."},
    "falcon_h1": {**_MODEL, "output_norm.": "model.final_layernorm."},
    "lfm2": {**_MODEL, "token_embd_norm.": "model.embedding_norm."},
}  # fmt: skip
_PREFIX = {"granitemoehybrid": "model.", "falcon_h1": "model.", "lfm2": "model."}
_OLD = {"attn_norm.": "norm.", **_within("mixer.", _MAMBA1)}
_HYBRID = {
    "attn_norm.": "input_layernorm.", **_within("mamba.", _MAMBA2),
    **_within("self_attn.", _ATTENTION),
}  # fmt: skip
_INSIDE = {
    "mamba": _OLD,
    "falcon_mamba": _OLD,
    "mamba2": {"attn_norm.": "norm.", **_within("mixer.", _MAMBA2)},
    "granitemoehybrid": {
        **_HYBRID,
        "ffn_norm.": "post_attention_layernorm.",
        "ffn_gate.": "shared_mlp.input_linear.",
        "ffn_up.": "shared_mlp.input_linear.",
        "ffn_down.": "shared_mlp.output_linear.",
    },
    "falcon_h1": {
        **_HYBRID,
        "ffn_norm": "pre_ff_layernorm.weight",
        **_within("feed_forward.", {f"ffn_{n}.": f"{n}_proj." for n in ("gate", "up", "down")}),
    },
    "lfm2": {
        "attn_norm.": "operator_norm.",
        "ffn_norm.": "ffn_norm.",
        **_within("conv.", {f"shortconv.{n}.": f"{n}." for n in ("conv", "in_proj", "out_proj")}),
        **_within(
            "self_attn.",
            {
                **_ATTENTION,
                "attn_output.": "out_proj.",
                "attn_q_norm.": "q_layernorm.",
                "attn_k_norm.": "k_layernorm.",
            },
        ),
        **_within("feed_forward.", {"ffn_gate.": "w1.", "ffn_up.": "w3.", "ffn_down.": "w2."}),
    },
}
# Families whose rotated channels the converter reorders.
_REORDERED = ("granitemoehybrid",)


@dataclass(frozen=True)
class HfTensor:
    """A tensor to write: dtype as safetensors has it, shape, and what reads it."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


def tensors_of(file: GgufFile, config: dict[str, Any]) -> dict[str, HfTensor]:
    """Return a file's tensors by Hugging Face's names.

    Raises
    ------
    CheckpointError
        A tensor that no model of this family has.
    """
    parts: dict[str, list[str]] = {}
    for name in file.tensors:
        parts.setdefault(_name(file, name, config["model_type"]), []).append(name)
    return {ours: _tensor(file, ours, sorted(theirs), config) for ours, theirs in parts.items()}


def _name(file: GgufFile, name: str, family: str) -> str:
    layer = _LAYER.fullmatch(name)
    table, rest = (_INSIDE, layer[2]) if layer else (_OUTSIDE, name)
    for theirs, ours in table[family].items():
        if rest == theirs or (theirs.endswith(".") and rest.startswith(theirs)):
            new = ours + rest.removeprefix(theirs)
            prefix = _PREFIX.get(family, "backbone.")
            return f"{prefix}layers.{int(layer[1])}.{new}" if layer else new
    raise CheckpointError(
        f"{file.path}: tensor {shown(name)} is in no model of {family}, so the model is another "
        "one than it seems"
    )


def _tensor(file: GgufFile, ours: str, theirs: list[str], config: dict[str, Any]) -> HfTensor:
    """Return one tensor; gate and up come together, in this order, where the model has them so."""
    first = file.tensors[theirs[0]]
    kinds = {STORED[file.tensors[name].kind] for name in theirs}
    dtype = kinds.pop() if len(kinds) == 1 and not ours.endswith("A_log") else "F32"
    shape: tuple[int, ...] = first.shape
    if len(theirs) > 1:
        shape = (sum(file.tensors[name].shape[0] for name in theirs), *shape[1:])
    if ours.endswith(("conv1d.weight", "conv.conv.weight")) and len(shape) == 2:
        shape = (shape[0], 1, shape[1])
    elif config["model_type"] not in ("mamba", "falcon_mamba") and ours.endswith(
        ("A_log", ".D", "mamba.norm.weight", "mixer.norm.weight")
    ):
        shape = (prod(shape),)

    def read() -> NDArray[Any]:
        found = [_values(file, name, config, dtype) for name in theirs]
        return np.concatenate(found).reshape(shape) if len(found) > 1 else found[0].reshape(shape)

    return HfTensor(dtype, shape, read)


def _values(file: GgufFile, name: str, config: dict[str, Any], dtype: str) -> NDArray[Any]:
    """Read a tensor and undo what the converter does to its numbers and rows."""
    values = file.read(name)
    if dtype == "F32":
        values = _float32(values, file.tensors[name].kind)
    if name.endswith("ssm_a"):
        if not (values < 0).all():
            raise CheckpointError(f"{file.path}: {name} is not below 0 everywhere; {AGAIN}")
        logarithm: NDArray[np.float32] = np.log(-values)
        return logarithm
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    for part, count in heads.items():
        if f".{part}." in name and config["model_type"] in _REORDERED:
            return _halves(values, config[count])
    return values


def _halves(values: NDArray[Any], heads: int) -> NDArray[Any]:
    """Put the pairs of rotated channels of each head back into two halves."""
    rows = len(values)
    if rows % (2 * heads):
        return values  # of another shape than the config's, which is said later
    pairs = values.reshape(heads, rows // heads // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def _float32(values: NDArray[Any], kind: str) -> NDArray[Any]:
    if kind == "BF16":  # the upper half of a float32
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float32, copy=False)
