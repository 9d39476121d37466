"""FuseRegions: one parallel region for a run of one-token kernels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from relay_passes import FuseRegions
from relay_passes.dump_module import count_calls
from tests.relay_passes import batched_case, fused_case, layer_case, staged_case
from tests.relay_passes.small_mamba import CHOOSE, bound, machine, steps
from tvm_c4n._tvm import IRModule, name_of, relax, tvm
from tvm_c4n.ops.isa import PORTABLE


@pytest.mark.parametrize(
    ("dtype", "threads"),
    [("int4", 2)]
    + [
        pytest.param(dtype, threads, marks=pytest.mark.slow)
        for dtype, threads in product(("float16", "int8", "int4"), (1, 2))
        if (dtype, threads) != ("int4", 2)
    ],
)
def test_a_step_is_one_kernel_a_layer_with_the_same_numbers(dtype: str, threads: int) -> None:
    config, before = bound(24, dtype)
    after = FuseRegions(CHOOSE)(before)
    relax.analysis.well_formed(after)  # raises
    step = IRModule({g: f for g, f in after.functions_items() if name_of(g) != "score"})
    regions = {name: count for name, count in count_calls(step).items() if "region" in name}
    assert sorted(regions.values()) == [1, 3]  # the head; and one kernel for all three layers
    tvm.get_global_func("runtime.config_threadpool")(0, threads)
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    expected, expected_states = steps(config, machine(before), tokens)
    found, found_states = steps(config, machine(after), tokens)
    np.testing.assert_array_equal(found, expected)
    for ours, theirs in zip(found_states, expected_states, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_updates_no_state_belongs_to_the_layer_before_it() -> None:
    after = FuseRegions(layer_case.choose)(layer_case.Parts)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(after, layer_case.Layer, map_free_vars=True)


def test_a_kernel_that_waits_for_nothing_runs_before_the_barrier() -> None:
    after = FuseRegions(fused_case.choose)(staged_case.Apart)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(after, staged_case.Together, map_free_vars=True)


def test_a_batched_step_keeps_its_symbols() -> None:
    after = FuseRegions(batched_case.choose)(batched_case.Apart)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(after, batched_case.Together, map_free_vars=True)


def test_fusing_twice_changes_nothing() -> None:
    once = FuseRegions(CHOOSE)(bound(24)[1])
    tvm.ir.assert_structural_equal(FuseRegions(CHOOSE)(once), once)


@pytest.mark.slow
def test_state_is_never_updated_by_every_thread() -> None:
    # Four channels are one vector: its loop has one turn, which no thread would own.
    config, before = bound(PORTABLE.lanes)
    after = FuseRegions(CHOOSE)(before)
    counts = count_calls(after)
    names = " ".join(
        str(f.attrs["c4n.region"])
        for _, f in after.functions_items()
        if "c4n.region" in (f.attrs or {})
    )
    assert "conv1d" not in names
    assert "selective_scan" not in names
    assert any(name.startswith("call_tir conv1d") for name in counts)
    tokens = [3, 1, 4]
    np.testing.assert_array_equal(
        steps(config, machine(after), tokens)[0], steps(config, machine(before), tokens)[0]
    )


def test_prefill_is_left_alone() -> None:
    _, before = bound(24)
    after = FuseRegions(CHOOSE)(before)
    tvm.ir.assert_structural_equal(after["score"], before["score"], map_free_vars=True)
