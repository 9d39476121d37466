"""TakeChunks: which loops are taken in chunks, and that no number changes."""

from __future__ import annotations

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import tirx as T

from relay_passes import FuseRegions, RollLayers, TakeChunks
from relay_passes.take_chunks import LONG_BYTES
from relay_passes.taken_loop import TAKEN
from tests.relay_passes.small_mamba import CHOOSE, bound, steps
from tvm_c4n._tvm import Target, register_kernel_pipeline, relax, tvm


@I.ir_module(s_tir=True)
class Loops:
    """A loop that is long enough, one that is not, and a long one in a loop of unknown extent."""

    @T.prim_func(private=True, s_tir=True)
    def long(x: T.Buffer((LONG_BYTES,), "uint8"), y: T.Buffer((LONG_BYTES,), "uint8")):
        for i in T.parallel(LONG_BYTES):
            y[i] = x[i]

    @T.prim_func(private=True, s_tir=True)
    def short(x: T.Buffer((LONG_BYTES,), "uint8"), y: T.Buffer((LONG_BYTES,), "uint8")):
        for i in T.parallel(LONG_BYTES - 1):
            y[i] = x[i]

    @T.prim_func(private=True, s_tir=True)
    def unknown(
        x: T.Buffer((LONG_BYTES,), "uint8"), y: T.Buffer((LONG_BYTES,), "uint8"), n: T.int32
    ):
        with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
            for _turn in range(n):
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(LONG_BYTES):
                        y[i] = x[i]


@pytest.mark.parametrize(("name", "taken"), [("long", True), ("short", False), ("unknown", False)])
def test_long_loops_are_taken_where_their_runs_can_be_counted(name: str, taken: bool) -> None:
    assert (TAKEN in TakeChunks()(Loops)[name].script()) == taken


@pytest.mark.slow
def test_a_step_has_the_same_numbers() -> None:
    register_kernel_pipeline("tests.taken", lambda: TakeChunks(1))
    config, mod = bound(24, "int4")
    mod = RollLayers()(FuseRegions(CHOOSE)(mod))
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    even, taken = (
        relax.build(mod, Target({"kind": "llvm"}), tir_pipeline=kernels)
        for kernels in ("default", "tests.taken")
    )
    expected, expected_states = steps(config, relax.VirtualMachine(even, tvm.cpu()), tokens)
    for threads in (1, 2):
        tvm.get_global_func("runtime.config_threadpool")(0, threads)
        found, found_states = steps(config, relax.VirtualMachine(taken, tvm.cpu()), tokens)
        np.testing.assert_array_equal(found, expected)
        for ours, theirs in zip(found_states, expected_states, strict=True):
            np.testing.assert_array_equal(ours, theirs)
