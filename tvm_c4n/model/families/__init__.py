"""The families of models, one module each: what a config.json describes.

A family is its `MODEL_TYPE`, the word in config.json, `ARCHITECTURE`, transformers' class for it,
and `read`, which turns the fields into a `ModelConfig`. To add one, write its module and name it
in `_MODULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.description import HEAD_MAP, ModelConfig
from tvm_c4n.model.families import (
    bamba,
    falcon_h1,
    falcon_mamba,
    granitemoehybrid,
    lfm2,
    mamba,
    mamba2,
    nemotron_h,
    qwen3_5,
    qwen3_5_text,
)
from tvm_c4n.model.families.reader import Fields

_MODULES = (
    mamba,
    falcon_mamba,
    mamba2,
    granitemoehybrid,
    falcon_h1,
    lfm2,
    qwen3_5_text,
    qwen3_5,
    bamba,
    nemotron_h,
)
FAMILIES: dict[str, Callable[[Fields], ModelConfig]] = {m.MODEL_TYPE: m.read for m in _MODULES}
ARCHITECTURES: dict[str, str] = {m.MODEL_TYPE: m.ARCHITECTURE for m in _MODULES}
# What a config.json of any family may say beyond transformers' fields: that it has a head map.
HAS_HEAD_MAP = "c4n_head_map"
TIED = "tie_word_embeddings"


def describe_model(content: Mapping[str, Any]) -> ModelConfig:
    """Describe the model of a Hugging Face ``config.json``; unknown fields are ignored.

    Raises
    ------
    CheckpointError
        A family or a feature that is not supported, a size that is missing or out of range.
    """
    config = FAMILIES[family_of(content)](Fields(content))
    return replace(config, head_map=HEAD_MAP) if has_head_map(content) else config


def has_head_map(content: Mapping[str, Any]) -> bool:
    """Say whether a config.json is that of a model with a head map."""
    return Fields(content).flag(HAS_HEAD_MAP, False)


def with_head_map(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config.json of a model that has a head map besides."""
    return {**content, HAS_HEAD_MAP: True}


def untied(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config.json of a model whose head is its own, without a head map."""
    rest = {name: value for name, value in content.items() if name != HAS_HEAD_MAP}
    text = rest.get("text_config")
    inner = {"text_config": {**text, TIED: False}} if isinstance(text, dict) else {}
    return {**rest, **inner, TIED: False}


def family_of(content: Mapping[str, Any]) -> str:
    """Return the supported family of a config.json.

    Raises
    ------
    CheckpointError
        It names none, or another one.
    """
    kind, supported = content.get("model_type"), ", ".join(FAMILIES)
    if kind is None:
        raise CheckpointError(f"has no model_type, supported: {supported}")
    if not isinstance(kind, str) or kind not in FAMILIES:
        # llama and bamba have 0.6 in common, lfm2_moe and lfm2 two thirds.
        near = get_close_matches(str(kind), FAMILIES, n=1, cutoff=0.65)
        near = near or [name for name in FAMILIES if kind and name.startswith(str(kind))]
        hint = f"; the nearest that works is {near[0]}" if near else ""
        raise CheckpointError(f"model_type {shown(kind)} is not supported, only: {supported}{hint}")
    return kind


__all__ = [
    "ARCHITECTURES",
    "FAMILIES",
    "describe_model",
    "family_of",
    "has_head_map",
    "untied",
    "with_head_map",
]
