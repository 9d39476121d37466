"""Two kernels of a batched step: the number of tokens is a symbol, and so is that of the slots."""

from __future__ import annotations

from typing import TypeVar

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_c4n._tvm import T as builder
from tvm_c4n.ops.spec import ConvSpec, OpSpec, QuantizeSpec
from tvm_c4n.ops.tir import Kernel, declare_or_bind, tokens_of

DOUBLE = QuantizeSpec(True, cols=8, group=8, padded=8, input_width=8, batched=True)
ACCUMULATE = ConvSpec(True, channels=8, width=1, layers=1, input_width=8, batched=True)


def choose(spec: OpSpec) -> tuple[str, Kernel] | None:
    """The kernels of the case, as a schedule rule would emit them."""

    def double() -> None:
        n = tokens_of(spec)
        x, y = declare_or_bind("x", (n, 8)), declare_or_bind("y", (n, 8))
        with builder.parallel(8) as i, builder.serial(n) as t:
            builder.buffer_store(y, x[t, i] * builder.float32(2), [t, i])

    def accumulate() -> None:
        n = tokens_of(spec)
        x, state = declare_or_bind("x", (n, 8)), declare_or_bind("state", (builder.int64(), 8))
        slots, y = declare_or_bind("slots", (n,), "int32"), declare_or_bind("y", (n, 8))
        with builder.parallel(n) as t, builder.serial(8) as i:
            builder.buffer_store(state, state[slots[t], i] + x[t, i], [slots[t], i])
            builder.buffer_store(y, state[slots[t], i] * x[t, i], [t, i])

    name, body = {DOUBLE: ("double", double), ACCUMULATE: ("accumulate", accumulate)}[spec]
    return name, Kernel(spec, name, body)


n = TypeVar("n")
slots = TypeVar("slots")


@I.ir_module(s_tir=True)
class Apart:
    """Two calls; what passes between them is a tensor."""

    @T.prim_func(private=True, s_tir=True)
    def double(
        x: T.Buffer((n, 8), "float32", layout=None), y: T.Buffer((n, 8), "float32", layout=None)
    ):
        T.func_attr(
            {
                "c4n.kind": "quantize",
                "c4n.cols": 8,
                "c4n.group": 8,
                "c4n.padded": 8,
                "c4n.input_width": 8,
                "c4n.dynamic": True,
                "c4n.batched": True,
                "c4n.schedule": "double",
                "op_pattern": 8,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for i in T.parallel(8):
                for t in range(n):
                    y[t, i] = x[t, i] * T.float32(2)

    @T.prim_func(private=True, s_tir=True)
    def accumulate(
        x: T.Buffer((n, 8), "float32", layout=None),
        state: T.Buffer((slots, 8), "float32", layout=None),
        chosen: T.Buffer((n,), "int32", layout=None),
        y: T.Buffer((n, 8), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "conv1d",
                "c4n.channels": 8,
                "c4n.width": 1,
                "c4n.layers": 1,
                "c4n.input_width": 8,
                "c4n.dynamic": True,
                "c4n.batched": True,
                "c4n.schedule": "accumulate",
                "op_pattern": 8,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for t in T.parallel(n):
                for i in range(8):
                    state[chosen[t], i] = state[chosen[t], i] + x[t, i]
                    y[t, i] = state[chosen[t], i] * x[t, i]

    @R.function
    def main(
        x: R.Tensor((n, 8), "float32"),
        s: R.Tensor((slots, 8), "float32"),
        chosen: R.Tensor((n,), "int32"),
    ) -> R.Tuple(R.Tensor((slots, 8), "float32"), R.Tensor((n, 8), "float32")):
        cls = Apart
        with R.dataflow():
            state = R.exp(s)
            lv = R.call_tir(cls.double, (x,), out_ty=R.Tensor((n, 8), "float32"))
            lv1 = R.call_tir_inplace(
                cls.accumulate,
                (lv, state, chosen),
                inplace_indices=[1, -1],
                out_ty=[R.Tensor((slots, 8), "float32"), R.Tensor((n, 8), "float32")],
            )
            lv2 = lv1[0]
            lv3 = lv1[1]
            gv = (lv2, lv3)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Together:
    """One call with one launch; the workspace has a row for each number of a token."""

    @T.prim_func(private=True, s_tir=True)
    def region(
        x: T.Buffer((n, 8), "float32", layout=None),
        state: T.Buffer((slots, 8), "float32", layout=None),
        chosen: T.Buffer((n,), "int32", layout=None),
        y: T.Buffer((n, 8), "float32", layout=None),
        work: T.Buffer((64, n), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.region": "quantize conv1d",
                "c4n.schedules": "double; accumulate",
                "op_pattern": 8,
                "tirx.noalias": True,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            pointer: T.let = T.address_of(work[0, 0])
            between = T.decl_buffer((n, 8), data=pointer, layout=None)
            with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        for t in range(n):
                            between[t, i] = x[t, i] * T.float32(2)
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for t in T.parallel(n):
                        for i in range(8):
                            state[chosen[t], i] = state[chosen[t], i] + between[t, i]
                            y[t, i] = state[chosen[t], i] * between[t, i]

    @R.function
    def main(
        x: R.Tensor((n, 8), "float32"),
        s: R.Tensor((slots, 8), "float32"),
        chosen: R.Tensor((n,), "int32"),
    ) -> R.Tuple(R.Tensor((slots, 8), "float32"), R.Tensor((n, 8), "float32")):
        cls = Together
        with R.dataflow():
            state = R.exp(s)
            fused = R.call_tir_inplace(
                cls.region,
                (x, state, chosen),
                inplace_indices=[1, -1, -1],
                out_ty=[
                    R.Tensor((slots, 8), "float32"),
                    R.Tensor((n, 8), "float32"),
                    R.Tensor((64, n), "float32"),
                ],
            )
            lv2 = fused[0]
            lv3 = fused[1]
            gv = (lv2, lv3)
            R.output(gv)
        return gv
