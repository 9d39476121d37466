"""TVMScript after every pass of a build, and what `script_of` replaces still has to be replaced."""

from __future__ import annotations

from itertools import chain

import pytest

from relay_passes.dump_module import script_of
from relay_passes.pipeline import Pipeline, c4n_pipeline, lowering_phases
from tests.relay_passes.c4n_layer import CHOOSE, layer, weight_of
from tests.relay_passes.fused_case import Together
from tests.relay_passes.printing import round_trip
from tests.relay_passes.small_mamba import bound
from tvm_c4n._tvm import IRBuilder, IRModule, T, Target, structural_equal, tvm
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.tir import declare_or_bind, in_root_block, prefetch

# After these TVM cannot parse what it prints: its parser knows no ``ty_args`` of
# ``R.builtin.alloc_tensor``, of which LowerAllocTensor leaves none.
UNREAD = ["CallTIRRewrite", "StaticPlanBlockMemory", "HoistAllocTensor"]


@pytest.mark.slow  # test_every_pass.py prints a small module after each pass
def test_a_layer_can_be_printed_and_parsed_after_every_pass() -> None:
    mod, seen, unread = layer(weight_of("int8")), [], []
    with Target({"kind": "llvm"}):
        for one in chain(*(p.passes for p in c4n_pipeline(PORTABLE.lanes, CHOOSE).phases)):
            mod = one(mod)
            seen.append(one.info.name)
            try:
                parsed = round_trip(mod)
            except tvm.error.DiagnosticError as cause:
                assert "alloc_tensor() got an unexpected keyword argument 'ty_args'" in str(cause)
                unread.append(one.info.name)
            else:
                tvm.ir.assert_structural_equal(parsed, mod, map_free_vars=True)
    assert seen[-1] == "AttachGlobalSymbol"
    assert unread == UNREAD


def test_the_node_of_a_launch_is_still_read_otherwise() -> None:
    parsed = tvm.script.from_source(Together.script(show_meta=True))
    assert not structural_equal(parsed, Together, map_free_vars=True)


def test_prefetches_are_read() -> None:
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("prefetching")
        x = declare_or_bind("x", (64,))
        prefetch(x, [0], 16)
    mod = IRModule({"prefetching": in_root_block(builder.get())})
    assert "T.prefetch(" in mod.script()
    tvm.ir.assert_structural_equal(round_trip(mod), mod, map_free_vars=True)
    with pytest.raises(tvm.error.DiagnosticError, match="no attribute 'prefetch'"):
        tvm.script.from_source(mod.script(show_meta=True))  # else `script_of` need not replace it


def test_vectors_of_two_are_read() -> None:
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("halves")
        x = declare_or_bind("x", (4,))
        low = T.bind(x[T.ramp(0, 1, 2)])
        T.buffer_store(x, low, [T.ramp(2, 1, 2)])
    mod = IRModule({"halves": in_root_block(builder.get())})
    assert "T.let[T.float32x2]" in mod.script()
    tvm.ir.assert_structural_equal(round_trip(mod), mod, map_free_vars=True)
    with pytest.raises(tvm.error.DiagnosticError, match="no attribute 'Float32x2'"):
        tvm.script.from_source(mod.script(show_meta=True))  # else `script_of` need not replace it


@pytest.mark.slow
def test_integers_among_a_kernels_arguments_are_read() -> None:
    """The operators of a Mamba layer get its number, once they are called without a result."""
    _, mod = bound(32, removed=(2,))
    for name in ("prefill", "score"):  # reading takes long
        del mod[name]
    with Target({"kind": "llvm"}):
        mod = Pipeline.of(lowering_phases())(mod)
    assert ", R.prim_value(0), " in script_of(mod)
    tvm.ir.assert_structural_equal(round_trip(mod), mod, map_free_vars=True)
    script = script_of(mod, constants=True).replace("R.prim_value(0)", "0")
    with pytest.raises(tvm.error.DiagnosticError, match=r"GlobalVar.__call__ .*<class 'int'>"):
        tvm.script.from_source(script)  # else `script_of` need not replace it
