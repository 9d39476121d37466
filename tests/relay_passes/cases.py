"""For each pass: a module before it, the module that is expected, and inputs to compare numbers.

`test_every_pass.py` holds all of them to the same rules, and fails when a pass has no case here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import relay_passes
import schedules
from tests.relay_passes.fused_case import Apart, Together, choose
from tests.relay_passes.linear_case import (
    Bound,
    Dense,
    Halved,
    Repacked,
    Stored,
    halved_lifted,
)
from tests.relay_passes.rolled_case import turns, turns_rolled
from tests.relay_passes.taken_case import LONG_BYTES, Even, Taken
from tvm_c4n._tvm import IRModule
from tvm_c4n.ops.isa import PORTABLE


@dataclass(frozen=True)
class PassCase:
    """What a pass does to one module whose function ``main`` takes `shapes` of float32."""

    make: Callable[[Path], Any]
    before: Callable[[], IRModule]
    expected: Callable[[], IRModule]
    shapes: tuple[tuple[int, ...], ...]
    # The weights of the result are parameters, its attribute ``c4n.constants`` has them.
    lifted: bool = False
    # Text of the files that the pass writes.
    files: dict[str, str] = field(default_factory=dict)


@I.ir_module(s_tir=True)
class Turned:
    """A transpose inside a kernel, a slice before it."""

    @T.prim_func(private=True, s_tir=True)
    def turn_add(a: T.Buffer((4, 6), "float32"), out: T.Buffer((6, 4), "float32")):
        turned = T.sblock_alloc_buffer((6, 4))
        for i, j in T.grid(6, 4):
            with T.sblock("turn"):
                vi, vj = T.axis.remap("SS", [i, j])
                turned[vi, vj] = a[vj, vi]
        for i, j in T.grid(6, 4):
            with T.sblock("add"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = turned[vi, vj] + T.float32(1)

    @T.prim_func(private=True, s_tir=True)
    def cut(a: T.Buffer((4, 8), "float32"), out: T.Buffer((4, 6), "float32")):
        for i, j in T.grid(4, 6):
            with T.sblock("cut"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = a[vi, vj + 2]

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((6, 4), "float32"):
        cls = Turned
        with R.dataflow():
            lv = R.call_tir(cls.cut, (x,), out_ty=R.Tensor((4, 6), "float32"))
            gv = R.call_tir(cls.turn_add, (lv,), out_ty=R.Tensor((6, 4), "float32"))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class TurnedInlined:
    """The add reads by the transposed index."""

    @T.prim_func(private=True, s_tir=True)
    def turn_add(a: T.Buffer((4, 6), "float32"), out: T.Buffer((6, 4), "float32")):
        for i, j in T.grid(6, 4):
            with T.sblock("add"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = a[vj, vi] + T.float32(1)

    @T.prim_func(private=True, s_tir=True)
    def cut(a: T.Buffer((4, 8), "float32"), out: T.Buffer((4, 6), "float32")):
        for i, j in T.grid(4, 6):
            with T.sblock("cut"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = a[vi, vj + 2]

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((6, 4), "float32"):
        cls = TurnedInlined
        with R.dataflow():
            lv = R.call_tir(cls.cut, (x,), out_ty=R.Tensor((4, 6), "float32"))
            gv = R.call_tir(cls.turn_add, (lv,), out_ty=R.Tensor((6, 4), "float32"))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class TurnedEliminated:
    """The slice is gone too."""

    @T.prim_func(private=True, s_tir=True)
    def turn_add1(
        a: T.Buffer((T.int64(4), T.int64(8)), "float32"),
        out: T.Buffer((T.int64(6), T.int64(4)), "float32", elem_offset=0),
    ):
        T.func_attr({"tirx.noalias": True})
        for i, j in T.grid(6, 4):
            with T.sblock("add"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = a[vj, vi + 2] + T.float32(1)

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((6, 4), "float32"):
        cls = TurnedEliminated
        with R.dataflow():
            gv = R.call_tir(cls.turn_add1, (x,), out_ty=R.Tensor((6, 4), "float32"))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Pieces:
    """Both halves of a tensor, added."""

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((4, 4), "float32"):
        with R.dataflow():
            lv = R.split(x, indices_or_sections=2, axis=1)
            lv1 = lv[0]
            lv2 = lv[1]
            gv = R.add(lv1, lv2)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class TwiceTurned:
    """A tensor that is turned for each of its readers."""

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((8, 4), "float32"):
        with R.dataflow():
            lv = R.exp(x)
            lv1 = R.permute_dims(lv, axes=[1, 0])
            lv2 = R.permute_dims(lv, axes=[1, 0])
            gv = R.add(lv1, lv2)
            R.output(gv)
        return gv


# The same as TVM prints it.
TWICE_TURNED = """\
# from tvm.script import ir as I
# from tvm.script import relax as R

@I.ir_module
class Module:
    @R.function
    def main(x: R.Tensor((4, 8), dtype="float32")) -> R.Tensor((8, 4), dtype="float32"):
        with R.dataflow():
            lv: R.Tensor((4, 8), dtype="float32") = R.exp(x)
            lv1: R.Tensor((8, 4), dtype="float32") = R.permute_dims(lv, axes=[1, 0])
            lv2: R.Tensor((8, 4), dtype="float32") = R.permute_dims(lv, axes=[1, 0])
            gv: R.Tensor((8, 4), dtype="float32") = R.add(lv1, lv2)
            R.output(gv)
        return gv"""


@I.ir_module(s_tir=True)
class OnceTurned:
    """The same, turned once."""

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((8, 4), "float32"):
        with R.dataflow():
            lv = R.exp(x)
            lv1 = R.permute_dims(lv, axes=[1, 0])
            gv = R.add(lv1, lv1)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class PiecesSpelledOut:
    """The same with slices."""

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((4, 4), "float32"):
        with R.dataflow():
            lv = R.strided_slice(x, [1], [0], [4])
            lv1 = R.strided_slice(x, [1], [4], [8])
            gv = R.add(lv, lv1)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Planned:
    """Three doublings in two pieces of planned memory; a tuple names the first two."""

    @T.prim_func(private=True, s_tir=True)
    def double(x: T.Buffer((4, 8), "float32"), y: T.Buffer((4, 8), "float32")):
        for i, j in T.grid(4, 8):
            with T.sblock("double"):
                v, w = T.axis.remap("SS", [i, j])
                y[v, w] = x[v, w] * T.float32(2)

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((4, 8), "float32"):
        R.func_attr({"relax.force_pure": True})
        cls = Planned
        one: R.Any = R.memory.alloc_storage(R.shape([128]), 0, R.str("global"), R.dtype("float32"))
        a: R.Tensor((4, 8), dtype="float32") = R.memory.alloc_tensor(
            one, 0, R.shape([4, 8]), R.dtype("float32"), 0
        )
        cls.double(x, a)
        two: R.Any = R.memory.alloc_storage(R.shape([128]), 0, R.str("global"), R.dtype("float32"))
        b: R.Tensor((4, 8), dtype="float32") = R.memory.alloc_tensor(
            two, 0, R.shape([4, 8]), R.dtype("float32"), 0
        )
        cls.double(a, b)
        both: R.Tuple(R.Tensor((4, 8), "float32"), R.Tensor((4, 8), "float32")) = a, b
        item: R.Tensor((4, 8), dtype="float32") = both[1]
        c: R.Tensor((4, 8), dtype="float32") = R.memory.alloc_tensor(
            one, 0, R.shape([4, 8]), R.dtype("float32"), 0
        )
        cls.double(item, c)
        out = R.add(c, item)
        return out


@I.ir_module(s_tir=True)
class PlannedOnce:
    """The same with one tensor for each piece, and no tuple."""

    @T.prim_func(private=True, s_tir=True)
    def double(x: T.Buffer((4, 8), "float32"), y: T.Buffer((4, 8), "float32")):
        for i, j in T.grid(4, 8):
            with T.sblock("double"):
                v, w = T.axis.remap("SS", [i, j])
                y[v, w] = x[v, w] * T.float32(2)

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((4, 8), "float32"):
        R.func_attr({"relax.force_pure": True})
        cls = PlannedOnce
        one: R.Any = R.memory.alloc_storage(R.shape([128]), 0, R.str("global"), R.dtype("float32"))
        a: R.Tensor((4, 8), dtype="float32") = R.memory.alloc_tensor(
            one, 0, R.shape([4, 8]), R.dtype("float32"), 0
        )
        cls.double(x, a)
        two: R.Any = R.memory.alloc_storage(R.shape([128]), 0, R.str("global"), R.dtype("float32"))
        b: R.Tensor((4, 8), dtype="float32") = R.memory.alloc_tensor(
            two, 0, R.shape([4, 8]), R.dtype("float32"), 0
        )
        cls.double(a, b)
        cls.double(b, a)
        out = R.add(a, b)
        return out


@I.ir_module(s_tir=True)
class Foreign:
    """Two kernels: the shapes of one are int32, those of the other int64 as TVM's own have them."""

    @T.prim_func(private=True, s_tir=True)
    def narrow(a: T.Buffer((4, 8), "float32"), out: T.Buffer((4, 8), "float32")):
        for i, j in T.grid(4, 8):
            with T.sblock("double"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = a[vi, vj] * T.float32(2)

    @T.prim_func(private=True, s_tir=True)
    def wide(
        a: T.Buffer((T.int64(4), T.int64(8)), "float32"),
        out: T.Buffer((T.int64(4), T.int64(8)), "float32"),
    ):
        for i, j in T.grid(T.int64(4), T.int64(8)):
            with T.sblock("double"):
                vi, vj = T.axis.remap("SS", [i, j])
                out[vi, vj] = a[vi, vj] * T.float32(2)

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((8, 4), "float32"):
        cls = Foreign
        with R.dataflow():
            a = R.exp(x)
            b = R.call_tir(cls.narrow, (a,), out_ty=R.Tensor((4, 8), "float32"))
            c = R.call_tir(cls.wide, (b,), out_ty=R.Tensor((4, 8), "float32"))
            d = R.permute_dims(c)
            e = R.negative(d)
            R.output(e)
        return e


def foreign_protected() -> IRModule:
    """The kernel of int32 shapes is opaque."""
    mod = Foreign.clone()
    gvar = mod.get_global_var("narrow")
    mod.update_func(gvar, mod[gvar].with_attr("op_pattern", 8))
    return mod


CASES: dict[str, PassCase] = {
    "RewriteDenseToC4n": PassCase(
        lambda _: relay_passes.RewriteDenseToC4n(), lambda: Dense, lambda: Stored, ((1, 8),)
    ),
    "RepackWeights": PassCase(
        lambda _: relay_passes.RepackWeights(PORTABLE.lanes),
        lambda: Stored,
        lambda: Repacked,
        ((1, 8),),
    ),
    "BindSchedules": PassCase(
        lambda _: relay_passes.BindSchedules(partial(schedules.choose, isa=PORTABLE)),
        lambda: Repacked,
        lambda: Bound,
        ((1, 8),),
    ),
    "CheckGrids": PassCase(
        lambda _: relay_passes.CheckGrids(), lambda: Bound, lambda: Bound, ((1, 8),)
    ),
    "FuseRegions": PassCase(
        lambda _: relay_passes.FuseRegions(choose),
        lambda: Apart,
        lambda: Together,
        ((1, 8), (1, 8)),
    ),
    "TakeChunks": PassCase(
        lambda _: relay_passes.TakeChunks(LONG_BYTES), lambda: Even, lambda: Taken, ((40, 4),)
    ),
    "RollLayers": PassCase(lambda _: relay_passes.RollLayers(), turns, turns_rolled, ((1, 8),)),
    "LiftConstants": PassCase(
        lambda _: relay_passes.LiftConstants(),
        lambda: Halved,
        halved_lifted,
        ((2, 4),),
        lifted=True,
    ),
    "DumpModule": PassCase(
        lambda folder: relay_passes.DumpModule(folder, "1_x"),
        lambda: TwiceTurned,
        lambda: TwiceTurned,
        ((4, 8),),
        files={
            "1_x.txt": "     1  relax.add\n     1  relax.exp\n     2  relax.permute_dims\n",
            "1_x.py": TWICE_TURNED,
        },
    ),
    "HoistAllocTensor": PassCase(
        lambda _: relay_passes.HoistAllocTensor(),
        lambda: Planned,
        lambda: PlannedOnce,
        ((4, 8),),
    ),
    "EliminateCommonTransposes": PassCase(
        lambda _: relay_passes.EliminateCommonTransposes(),
        lambda: TwiceTurned,
        lambda: OnceTurned,
        ((4, 8),),
    ),
    "DecomposeLayoutOps": PassCase(
        lambda _: relay_passes.DecomposeLayoutOps(),
        lambda: Pieces,
        lambda: PiecesSpelledOut,
        ((4, 8),),
    ),
    "ProtectKernels": PassCase(
        lambda _: relay_passes.ProtectKernels(), lambda: Foreign, foreign_protected, ((4, 8),)
    ),
    "InlineCopies": PassCase(
        lambda _: relay_passes.InlineCopies(), lambda: Turned, lambda: TurnedInlined, ((4, 8),)
    ),
    "EliminateLayout": PassCase(
        lambda _: relay_passes.EliminateLayout(),
        lambda: Turned,
        lambda: TurnedEliminated,
        ((4, 8),),
    ),
}
