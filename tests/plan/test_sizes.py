"""Bytes of a plan are those of folders and artifacts."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest

from tests.models import EXPERTS, HF, HYBRID
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.model.families import describe_model
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.plan.sizes import sizes_of, state_sizes
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.sparsity import from_dense, mask_from_scores


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4", "int3"])
@pytest.mark.parametrize("removed", range(4))
@pytest.mark.parametrize("hf", [HF, HYBRID, EXPERTS], ids=["mamba", "hybrid", "experts"])
def test_stored_bytes_are_those_of_stored_weights(
    hf: dict[str, object], removed: int, dtype: str
) -> None:
    recipe = Recipe(removed=removed, dtype=dtype)
    config = recipe.stored(describe_model(hf))
    plan, expected = recipe.plan(config), 0
    for name, shape in config.tensor_shapes().items():
        if name not in plan:
            expected += 2 * prod(shape)
            continue
        dense = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        choice = plan[name]
        mask = mask_from_scores(np.abs(dense), choice.removed)
        group = recipe.group_of(choice.removed)
        kept = np.where(mask, dense, 0)
        weight = from_dense(kept, choice.removed, choice.dtype, mask=mask, scale_group=group)
        expected += weight.size_bytes
    assert sizes_of(describe_model(hf), recipe, 8).disk_bytes == expected


def test_experts_that_differ_are_counted_one_by_one() -> None:
    config = describe_model(EXPERTS)
    name, one = config.projections(0)["expert_up"].weight, Recipe(removed={"expert_up": 2})
    several = Recipe(removed={"expert_up": 2, "layers.0.expert_up": [2, 1, 2, 3]})
    before, after = (sizes_of(config, recipe, 8) for recipe in (one, several))
    rows, cols = config.tensor_shapes()[name]
    # Of float16, n=1 has 12.5 bits a weight, n=2 9 and n=3 4.5.
    more = rows // 4 * cols * (12.5 + 4.5 - 2 * 9) / 8
    assert after.disk_bytes - before.disk_bytes == more
    assert after.weight_bytes != before.weight_bytes


def test_the_bundled_model_is_planned_to_the_byte() -> None:
    checkpoint = open_checkpoint("mamba-19m")
    sizes = sizes_of(describe_model(checkpoint.config), Recipe(removed=0), 8)
    assert sizes.disk_bytes == checkpoint.size_bytes


def test_repacked_bytes_are_those_of_the_artifact(small_artifact: Path) -> None:
    manifest = open_artifact(small_artifact).manifest
    lanes = isa_of(resolve_target("host")).lanes
    sizes = sizes_of(manifest.description(), Recipe(removed=0), lanes)
    assert sizes.weight_bytes == pytest.approx(manifest.weight_bytes, rel=0.05)
    assert sizes.token_bytes == sizes.weight_bytes  # the head is the embeddings


def test_of_embeddings_that_are_no_head_one_row_is_read() -> None:
    config = describe_model({**HF, "tie_word_embeddings": False})
    recipe = Recipe(dtype="int4", rotate=False)
    tied, untied = (sizes_of(c, recipe, 8) for c in (describe_model(HF), config))
    assert untied.weight_bytes > tied.weight_bytes
    assert untied.token_bytes == tied.token_bytes
    assert untied.read_bytes == tied.read_bytes
    assert set(tied.read_bytes) == {Choice(2, "int4"), Choice(0, "int4"), Choice(0, "int8")}


def test_states_that_grow_with_the_context_are_counted_apart() -> None:
    config = describe_model(HYBRID)
    fixed, of_context = state_sizes(config)
    assert of_context == 2 * 64 * 2 * 8 * 4  # keys and values of 64 tokens, 2 heads of 8, float32
    total = sum(prod(s.shape) * np.dtype(s.dtype).itemsize for s in config.states())
    assert fixed + of_context == total
    assert state_sizes(describe_model(HF))[1] == 0
