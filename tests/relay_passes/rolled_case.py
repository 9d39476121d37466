"""The case of RollLayers: three calls of a region, and the loop that they become."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.script import tirx as T

from tvm_c4n._tvm import IRModule, relax


@T.prim_func(private=True, s_tir=True)
def turn(
    x: T.Buffer((1, 8), "float32", layout=None),
    weight: T.Buffer((8,), "float32", layout=None),
    k: T.int64,
    y: T.Buffer((1, 8), "float32", layout=None),
    work: T.Buffer((8,), "float32", layout=None),
):
    """A region of two loops, ``y = (x * weight + k) * x``."""
    T.func_attr(
        {"c4n.region": "a b", "c4n.schedules": "a; b", "op_pattern": 8, "tirx.noalias": True}
    )
    with T.sblock("root"):
        T.reads()
        T.writes()
        with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
            with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                for i in T.parallel(8):
                    work[i] = x[0, i] * weight[i] + T.cast(k, "float32")
            with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                for j in T.parallel(8):
                    y[0, j] = work[j] * x[0, j]


@T.prim_func(private=True, s_tir=True)
def layers(
    table: T.Buffer((3, 2), "uint32", layout=None),
    block: T.Buffer((192,), "uint8", layout=None),
    x: T.Buffer((1, 8), "float32", layout=None),
    y: T.Buffer((1, 8), "float32", layout=None),
    work: T.Buffer((8,), "float32", layout=None),
    y_between: T.Buffer((2, 8), "float32", layout=None),
):
    """Three turns of the region in one launch."""
    T.func_attr(
        {"c4n.region": "a b", "c4n.schedules": "a; b", "op_pattern": 8, "tirx.noalias": True}
    )
    with T.sblock("root"):
        T.reads()
        T.writes()
        with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
            with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                for column in T.parallel(T.int64(8)):
                    y_between[T.int64(0), column] = x[T.int64(0), column]
            for layer in range(T.int64(3)):
                start: T.let[T.int64] = T.Cast("int64", table[layer, 1]) * T.int64(64)
                x_1 = T.decl_buffer(
                    (1, 8), data=T.address_of(y_between[layer % T.int64(2), 0]), layout=None
                )
                weight = T.decl_buffer((8,), data=T.address_of(block[start]), layout=None)
                k: T.let[T.int64] = layer + T.int64(5)
                y_1 = T.decl_buffer(
                    (1, 8),
                    data=T.address_of(y_between[(layer + T.int64(1)) % T.int64(2), 0]),
                    layout=None,
                )
                work_1 = T.decl_buffer((8,), data=T.address_of(work[0]), layout=None)
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        work_1[i] = x_1[0, i] * weight[i] + T.cast(k, "float32")
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for j in T.parallel(8):
                        y_1[0, j] = work_1[j] * x_1[0, j]
            with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                for column in T.parallel(T.int64(8)):
                    y[T.int64(0), column] = y_between[T.int64(1), column]


ROW = relax.TensorType((1, 8), "float32")
WORK = relax.TensorType((8,), "float32")
TURNS = [np.arange(8, dtype=np.float32) + n for n in range(3)]


def turns() -> IRModule:
    """Three calls of a region, and another use of the second one's weight."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", ROW)
    with bb.function("main", [x]):
        with bb.dataflow():
            gvar = bb.add_func(turn, "turn")
            weights = [relax.const(array) for array in TURNS]
            value: Any = x
            for number, weight in enumerate(weights):
                inputs = [value, weight, relax.prim_value(5 + number)]
                value = bb.emit(relax.call_tir(gvar, inputs, [ROW, WORK]))
                value = bb.emit(relax.TupleGetItem(value, 0))
            out = bb.emit_output(relax.op.add(value, weights[1]))
        bb.emit_func_output(out)
    return relax.transform.CanonicalizeBindings()(bb.get())


def turns_rolled() -> IRModule:
    """One call, the weights in one block, the other use by a view of it."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", ROW)
    lines = [np.pad(array, (0, 8)) for array in TURNS]
    block = relax.const(np.concatenate(lines).view(np.uint8))
    table = relax.const(np.array([[0, 0], [0, 1], [0, 2]], np.uint32))
    with bb.function("main", [x]):
        with bb.dataflow():
            gvar = bb.add_func(layers, "layers")
            pair = relax.TensorType((2, 8), "float32")
            value = bb.emit(relax.call_tir(gvar, [table, block, x], [ROW, WORK, pair]))
            value = bb.emit(relax.TupleGetItem(value, 0))
            view = bb.emit(relax.op.memory.view(block, relax.ShapeExpr([8]), "float32", 64))
            view = bb.emit(relax.op.memory.ensure_zero_offset(view))
            out = bb.emit_output(relax.op.add(value, view))
        bb.emit_func_output(out)
    return relax.transform.CanonicalizeBindings()(bb.get())
