"""For each pass: a module before it, the module that is expected, and inputs to compare numbers.

`test_every_pass.py` holds all of them to the same rules, and fails when a pass has no case here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import relay_passes
import schedules
from tests.relay_passes.rolled_case import turns, turns_rolled
from tvm_c4n._tvm import IRModule, relax
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import LinearSpec, spec_of
from tvm_c4n.sparsity import C4nWeight, from_dense, mask_from_scores

CHOOSE = partial(schedules.choose, isa=PORTABLE)


@dataclass(frozen=True)
class PassCase:
    """What a pass does to one module whose function ``main`` takes `shapes` of float32."""

    make: Callable[[Path], Any]
    before: Callable[[], IRModule]
    expected: Callable[[], IRModule]
    shapes: tuple[tuple[int, ...], ...]
    lifted: bool = False
    """The weights of the result are parameters, its attribute ``c4n.constants`` has them."""


def _weight(dtype: str = "float32") -> C4nWeight:
    dense = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    return from_dense(dense, 2, dtype, mask=mask_from_scores(np.abs(dense), 2))


def _function(body: Callable[[relax.BlockBuilder, Any], Any]) -> IRModule:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 64), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(body(bb, x))
        bb.emit_func_output(out)
    return relax.transform.CanonicalizeBindings()(bb.get())


def dense_layer() -> IRModule:
    """``x @ permute_dims(W)`` whose W obeys n = 2."""
    weight = _weight().dense()
    return _function(
        lambda bb, x: relax.op.matmul(x, bb.emit(relax.op.permute_dims(relax.const(weight))))
    )


def c4n_layer(dtype: str = "float32") -> IRModule:
    """The same as a C4n operator on weights as the checkpoint has them."""
    return _function(
        lambda bb, x: c4n_linear.emit(Emitter(bb, 1, ConstantPool()), x, _weight(dtype))
    )


def packed_layer() -> IRModule:
    """The same on packed weights, emitted as such."""
    (spec,) = [
        s for _, f in c4n_layer().functions_items() if isinstance(s := spec_of(f), LinearSpec)
    ]
    spec = LinearSpec(**{**spec.__dict__, "lanes": PORTABLE.lanes})

    def body(bb: relax.BlockBuilder, x: Any) -> Any:
        packed = repack(_weight(), spec)
        arrays = packed if isinstance(packed, list) else [packed]
        # PackWeights adds its kernel beside the one that it replaces, so the name has a number.
        gvar = bb.add_func(c4n_linear.define(spec), "linear1")
        inputs = [x, *(relax.const(array) for array in arrays)]
        return relax.call_tir(gvar, inputs, relax.TensorType((1, 20), "float32"))

    return _function(body)


def bound_layer() -> IRModule:
    """The same with the body of the rule."""
    mod = packed_layer()
    for gvar, func in mod.functions_items():
        spec = spec_of(func)
        if spec is not None:
            name, kernel = CHOOSE(spec)
            attrs = {"c4n.schedule": name, "tirx.is_scheduled": True}
            mod.update_func(gvar, kernel.prim_func().with_attrs(attrs))
    return mod


def lifted_layer() -> IRModule:
    """The packed layer whose weights are arguments."""
    mod = packed_layer()
    (call,) = [b.value for b in mod["main"].body.blocks[0].bindings]
    x, *constants = call.args[1].fields
    weights = [relax.Var(f"weight{i}", c.ty) for i, c in enumerate(constants)]
    gvar = call.args[0]
    bb = relax.BlockBuilder(IRModule({gvar: mod[gvar]}))
    new_x = relax.Var("x", x.ty)
    with bb.function("main", [new_x, *weights]):
        with bb.dataflow():
            out = bb.emit_output(relax.call_tir(gvar, [new_x, *weights], call.ty_args[0]))
        bb.emit_func_output(out)
    return bb.get().with_attr("c4n.constants", [c.value for c in constants])


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


WIDE = ((1, 64),)


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


CASES: dict[str, PassCase] = {
    "RewriteDenseToC4n": PassCase(
        lambda _: relay_passes.RewriteDenseToC4n(), dense_layer, c4n_layer, WIDE
    ),
    "PackWeights": PassCase(
        lambda _: relay_passes.PackWeights(PORTABLE.lanes), c4n_layer, packed_layer, WIDE
    ),
    "BindSchedules": PassCase(
        lambda _: relay_passes.BindSchedules(CHOOSE), packed_layer, bound_layer, WIDE
    ),
    "FuseRegions": PassCase(
        # One kernel is no run: it stays. test_fuse_regions.py has the runs of a whole model.
        lambda _: relay_passes.FuseRegions(CHOOSE),
        bound_layer,
        bound_layer,
        WIDE,
    ),
    "RollLayers": PassCase(lambda _: relay_passes.RollLayers(), turns, turns_rolled, ((1, 8),)),
    "LiftConstants": PassCase(
        lambda _: relay_passes.LiftConstants(), packed_layer, lifted_layer, WIDE, lifted=True
    ),
    "DumpModule": PassCase(
        lambda folder: relay_passes.DumpModule(folder, "1_x"), dense_layer, dense_layer, WIDE
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
