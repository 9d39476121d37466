"""Which kernels run between two barriers, and which of them share a loop of what tiles."""

from __future__ import annotations

from typing import Any

import pytest

from relay_passes import FuseRegions
from relay_passes.regions.loop_fusion import stages
from relay_passes.regions.select import KernelCall
from tests.relay_passes.fused_case import DOUBLE
from tests.relay_passes.rolled_case import ROW
from tests.relay_passes.small_mamba import CHOOSE, bound
from tvm_c4n._tvm import relax
from tvm_c4n.ops.tir import ColumnTiles, Kernel


def call(
    *sources: Any,
    extent: int = 64,
    width: int = 8,
    multiple: int = 4,
    own: frozenset[int] = frozenset({0}),
    tiled: bool = True,
    updates: bool = False,
) -> KernelCall:
    """A kernel with one output, which may be its first input, updated."""
    tiles = ColumnTiles(extent, multiple, width, own, lambda: (), lambda *_: None)
    kernel = Kernel(DOUBLE, "kernel", lambda: None, tiles if tiled else None)
    out = relax.Var("out", ROW)
    return KernelCall(out, kernel, "rule", list(sources), [out], {0: 0} if updates else {})


def widths(*calls: KernelCall) -> list[list[tuple[int, int]]]:
    """By stage: how many kernels each loop has, and how wide its tiles are."""
    return [[(len(loop.calls), loop.width) for loop in stage] for stage in stages(calls)]


X = relax.Var("x", ROW)


def test_a_kernel_that_reads_its_own_columns_follows_tile_by_tile() -> None:
    first = call(X)
    assert widths(first, call(first.var)) == [[(2, 8)]]


@pytest.mark.parametrize(
    "fields",
    [
        {"own": frozenset()},  # it reads all columns of the first one
        {"tiled": False},
        {"extent": 128},  # more columns than the first one has
        {"extent": 8},  # one tile: its loop would be simplified away
    ],
)
def test_any_other_kernel_waits(fields: dict[str, Any]) -> None:
    first = call(X)
    assert widths(first, call(first.var, **fields)) == [[(1, 0)], [(1, 0)]]


def test_a_kernel_of_another_input_waits_for_nothing() -> None:
    first, other = call(X), call(X, own=frozenset())
    assert widths(first, other) == [[(1, 0), (1, 0)]]
    # What stands between them in the model, and needs a barrier, comes behind both.
    between = call(first.var, own=frozenset())
    assert widths(first, between, other) == [[(1, 0), (1, 0)], [(1, 0)]]
    assert [s[0].calls[0] for s in stages([first, between, other])] == [first, between]


def test_a_kernel_of_two_others_joins_their_loops() -> None:
    gate, up = call(X), call(X)
    both = call(gate.var, up.var, own=frozenset({0, 1}))
    assert widths(gate, up, both, call(both.var)) == [[(4, 8)]]
    assert widths(gate, up, call(gate.var, up.var)) == [[(1, 0), (1, 0)], [(1, 0)]]


def test_an_update_waits_for_what_reads_the_value_before_it() -> None:
    reader = call(X)
    assert widths(reader, call(X, updates=True)) == [[(1, 0)], [(1, 0)]]
    updated = call(X, updates=True)
    assert widths(updated, call(updated.var)) == [[(2, 8)]]


def test_tiles_are_the_widest_that_all_can_have() -> None:
    def behind(first: KernelCall, **fields: Any) -> list[list[tuple[int, int]]]:
        return widths(first, call(first.var, **fields))

    assert behind(call(X), width=16) == [[(2, 16)]]
    # 12 does not divide 64: tiles are as narrow as both allow.
    assert behind(call(X, multiple=4), extent=48, width=12, multiple=2) == [[(2, 4)]]


def test_rows_with_a_convolution_behind_them_are_shared_evenly() -> None:
    """The first half of in_proj's rows is convolved, the second is not: a loop for each."""
    _, before = bound(32)
    mod = FuseRegions(CHOOSE)(before)
    region = next(
        f for f in mod.functions.values() if "conv1d" in str((f.attrs or {}).get("c4n.region", ""))
    )
    loops = [line.strip() for line in region.script().splitlines() if "in T.parallel(" in line]
    in_proj, rest = loops[2:4], loops[4:]
    # Behind the norm and its quantisation 64 rows in blocks of 8; then x_proj, dt_proj with the
    # scan, the quantisation and out_proj.
    assert [line.split("T.parallel")[1] for line in in_proj] == ["(4):", "(4):"]
    assert len(rest) == 4
