"""Attention with norms of each head and a rotation of a part of it, against plain formulas.

Compiled they are part of several families: `tests/model/families`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.models import VOCABULARY
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.healing.student import Student
from tvm_c4n.model.blocks import Attention
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.hybrid import attention_of, rotary_fraction
from tvm_c4n.model.families.reader import Fields
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.reference.formulas import rotate

NORMS = (Norm("q_norm.weight", 1e-5), Norm("k_norm.weight", 1e-6))
TEXT = np.random.default_rng(0).integers(0, VOCABULARY, 9)


def model() -> tuple[ModelConfig, dict[str, Any]]:
    """One layer: 6 of a head's 8 channels are rotated; its other tensors have other names."""
    block = Attention(
        "layers.0.mix.", 16, 4, 2, 8, 64, 0.4, 50.0, rotary=6, head_norms=NORMS, output="out"
    )
    config = ModelConfig(
        model_type="made",
        vocab_size=VOCABULARY,
        d_model=16,
        layers=(Layer((Residual(Norm("layers.0.norm.weight", 1e-5), (block,)),)),),
        embeddings="embeddings.weight",
        final_norm=Norm("last.weight", 1e-5),
        head="embeddings.weight",
        context=64,
    )
    rng = np.random.default_rng(1)
    shapes = config.tensor_shapes().items()
    return config, {name: rng.standard_normal(shape, np.float32) for name, shape in shapes}


def expected(tensors: dict[str, Any]) -> Any:
    """The logits, head by head in float64, without the code that is tested."""

    def norm(x: Any, weight: Any, eps: float) -> Any:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight

    def turn(x: Any) -> Any:
        found = x.copy()
        for t, i in np.ndindex(len(x), 3):
            angle = t * 50.0 ** (-i / 3)
            cos, sin = np.cos(angle), np.sin(angle)
            found[t, i], found[t, i + 3] = (
                x[t, i] * cos - x[t, i + 3] * sin,
                x[t, i + 3] * cos + x[t, i] * sin,
            )
        return found

    of = {
        name.removeprefix("layers.0."): value.astype(np.float64) for name, value in tensors.items()
    }
    h = of["embeddings.weight"][TEXT]
    u = norm(h, of["norm.weight"], 1e-5)
    q, k, v = (u @ of[f"mix.{name}_proj.weight"].T for name in "qkv")
    mixed = []
    for head in range(4):
        key, value = (x[:, head // 2 * 8 :][:, :8] for x in (k, v))
        query = turn(norm(q[:, 8 * head :][:, :8], of["mix.q_norm.weight"], 1e-5))
        scores = 0.4 * query @ turn(norm(key, of["mix.k_norm.weight"], 1e-6)).T
        weights = np.exp(scores) * np.tri(len(TEXT))
        mixed.append(weights @ value / weights.sum(1, keepdims=True))
    h = h + np.concatenate(mixed, 1) @ of["mix.out.weight"].T
    return norm(h, of["last.weight"], 1e-5) @ of["embeddings.weight"].T


def test_norms_of_heads_and_a_partial_rotation_are_those_of_the_formulas() -> None:
    config, tensors = model()
    logits, stored = expected(tensors), ArrayCheckpoint({}, tensors)
    np.testing.assert_allclose(Reference(config, stored.dense).prefill(TEXT), logits, atol=1e-5)
    last, head = Student(stored, config, torch.device("cpu"))(torch.from_numpy(TEXT)[None])
    np.testing.assert_allclose((last @ head.T)[0].detach().numpy(), logits, atol=1e-4)


def test_what_is_not_rotated_stays() -> None:
    x = np.random.default_rng(2).standard_normal((5, 3, 8))
    np.testing.assert_array_equal(rotate(x, 7, 50.0, 6)[..., 6:], x[..., 6:])
    np.testing.assert_allclose(
        rotate(x, 7, 50.0, 6)[..., :6], rotate(np.ascontiguousarray(x[..., :6]), 7, 50.0, 6)
    )


SIZES = {"num_attention_heads": 2, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("fields", "fraction"),
    [
        ({}, 0.5),
        ({"partial_rotary_factor": 0.25}, 0.25),
        ({"partial_rotary_factor": 0.25, "rope_parameters": {"partial_rotary_factor": 1.0}}, 1.0),
        ({"partial_rotary_factor": None, "rope_parameters": {"rope_theta": 2.0}}, 0.5),
    ],
)
def test_the_fraction_is_read_from_either_place(fields: dict[str, Any], fraction: float) -> None:
    assert rotary_fraction(Fields(fields), 0.5) == fraction


@pytest.mark.parametrize("fraction", [0.01, 0.3, 1.5])
def test_a_fraction_that_gives_no_pairs_is_refused(fraction: float) -> None:
    message = f"heads of 10 channels cannot be rotated by partial_rotary_factor={fraction}"
    with pytest.raises(CheckpointError, match=message):
        attention_of(Fields(SIZES), 20, None, 100.0, fraction=fraction)
    assert attention_of(Fields(SIZES), 20, None, 100.0, fraction=0.4)("").rotated == 4
