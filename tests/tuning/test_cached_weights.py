"""Whether two whole models are as far apart as cached weights make them, or as cold ones do."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tvm_c4n.model.config import MAX_TOKENS
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.pruning.allocation.latency import Seconds
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.tuning.cached_weights import (
    LARGEST_CACHE,
    ROOM,
    bytes_of_a_model,
    bytes_of_kernels,
    stay_cached,
)
from tvm_c4n.tuning.dense_layers import DenseLayers
from tvm_c4n.tuning.harness import COLD_BYTES

CONFIG = mamba_config(
    vocab_size=64, d_model=16, d_inner=32, n_layer=2, d_state=4, d_conv=4, dt_rank=6
)
PLANS = (Recipe(removed=3, dtype="int4").plan(CONFIG), Recipe(removed=0, dtype="int4").plan(CONFIG))


def layers() -> list[DenseLayers]:
    """Every shape, as a linear kernel alone for each n."""
    shapes = {CONFIG.tensor_shapes()[name] for name in CONFIG.weights()}
    found = []
    for rows, cols in sorted(shapes):  # type: ignore[misc]
        specs: dict[Choice, list[OpSpec]] = {
            Choice(n, dtype): [LinearSpec(False, rows, cols, n, dtype, 64, 16, cols)]
            for n in range(4)
            for dtype in ("int4", "int8")  # type: ignore[misc]
        }
        found.append(DenseLayers((rows, cols), specs, {}))
    return found


class Timer:
    """A kernel takes 1 us for each weight that is kept of 4, and twice as long from memory."""

    def __init__(self) -> None:
        self.calls: list[dict[OpSpec, int]] = []

    def times(self, wanted: Mapping[OpSpec, int]) -> dict[OpSpec, Seconds]:
        self.calls.append(dict(wanted))
        found = {}
        for spec, most_bytes in wanted.items():
            assert isinstance(spec, LinearSpec)
            secs = (4 - spec.removed) * 1e-6 * (2 if most_bytes == COLD_BYTES else 1)
            found[spec] = Seconds(min=secs, median=secs, max=secs)
        return found


@pytest.mark.parametrize(("apart", "cached"), [(12e-6, True), (17e-6, True), (24e-6, False)])
def test_the_nearer_of_both_is_what_weights_do(apart: float, cached: bool) -> None:
    """Two layers, of two projections that differ by three weights: 12 us, or 24."""
    timer = Timer()
    assert stay_cached(CONFIG, layers(), PLANS, apart, timer) is cached
    few, many = timer.calls
    assert {(spec.rows, spec.removed) for spec in few} == {(64, 0), (64, 3), (16, 0), (16, 3)}
    assert all(few[spec] == bytes_of_a_model(CONFIG, Choice(spec.removed, "int4")) for spec in few)
    assert set(many.values()) == {COLD_BYTES}


def test_of_a_large_model_as_much_is_asked_as_comes_from_memory() -> None:
    large = mamba_config(
        vocab_size=50280, d_model=768, d_inner=1536, n_layer=24, d_state=16, d_conv=4, dt_rank=48
    )
    assert bytes_of_a_model(large, Choice(0, "int8")) == COLD_BYTES
    assert bytes_of_a_model(large, Choice(3, "int2")) < COLD_BYTES


def test_a_models_bytes_are_those_of_all_weights_and_room() -> None:
    shapes = [CONFIG.tensor_shapes()[name] for name in CONFIG.weights()]
    weights = sum(rows * cols for rows, cols in shapes)  # type: ignore[misc]
    assert bytes_of_a_model(CONFIG, Choice(0, "float16")) == ROOM * 2 * weights


def test_what_is_larger_than_any_cache_comes_from_memory() -> None:
    choices = [Choice(0, "int4"), Choice(0, "float16")]
    middle = mamba_config(
        vocab_size=8192, d_model=384, d_inner=768, n_layer=16, d_state=16, d_conv=4, dt_rank=24
    )
    small, large = (bytes_of_a_model(middle, choice) for choice in choices)
    assert small < LARGEST_CACHE < large < COLD_BYTES
    step: dict[Choice, list[OpSpec]] = {
        choice: [LinearSpec(False, 384, 768, 0, choice.dtype, 64, 16, 768)] for choice in choices
    }
    chunk: dict[Choice, list[OpSpec]] = {
        choices[0]: [LinearSpec(True, 384, 768, 0, "int4", 64, 16, 768)]
    }
    two = [DenseLayers((384, 768), step, chunk), DenseLayers((8192, 384), {}, {})]
    found = bytes_of_kernels(middle, two, cached=True)
    assert [found[step[choice][0]] for choice in choices] == [small, COLD_BYTES]
    assert set(bytes_of_kernels(middle, two, cached=False)[step[c][0]] for c in choices) == {
        COLD_BYTES
    }
    # A chunk's rows in and out of the layers that see it, in float32.
    assert found[chunk[choices[0]][0]] == MAX_TOKENS * (384 + 768) * 4
