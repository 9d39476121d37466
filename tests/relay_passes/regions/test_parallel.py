"""Which kernels can be inside a launch, and what is inside one."""

from __future__ import annotations

import pytest

from relay_passes.regions.parallel import BARRIER, launched, only_parallel, statements
from tests.relay_passes.fused_case import Apart, Together
from tests.relay_passes.rolled_case import turn
from tvm_c4n._tvm import IRBuilder, PrimFunc, T
from tvm_c4n.ops.tir import declare_or_bind, in_root_block


def kernel(extent: int, *, parallel: bool = True, store_first: bool = False) -> PrimFunc:
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("kernel")
        x = declare_or_bind("x", (16,))
        if store_first:
            T.buffer_store(x, T.float32(0), [0])
        with T.parallel(extent) if parallel else T.serial(extent) as i:
            T.buffer_store(x, T.float32(1), [i])
    return in_root_block(builder.get())


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (kernel(16), True),
        (kernel(1), False),  # one iteration: every thread would run it
        (kernel(16, parallel=False), False),
        (kernel(16, store_first=True), False),
        (Apart["accumulate"], True),
    ],
)
def test_only_parallel_loops_of_several_iterations_can_be_fused(
    func: PrimFunc, expected: bool
) -> None:
    assert only_parallel(func) == expected


@pytest.mark.parametrize(
    ("region", "loops", "declared"), [(turn, 2, 0), (Together["region"], 2, 2)]
)
def test_a_launch_is_taken_off_and_what_is_declared_before_it_stays(
    region: PrimFunc, loops: int, declared: int
) -> None:
    inside = launched(region)
    assert len(statements(region)) == declared + 1
    assert sum(getattr(stmt, "attr_key", "") == BARRIER for stmt in inside) == loops
    assert len(inside) == declared + loops
