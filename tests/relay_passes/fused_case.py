"""The case of FuseRegions: two kernels of one token, one of which updates a state."""

from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_c4n._tvm import T as builder
from tvm_c4n.ops.spec import ConvSpec, OpSpec, QuantizeSpec
from tvm_c4n.ops.tir import Kernel, declare_or_bind

DOUBLE = QuantizeSpec(dynamic=False, cols=8, group=8, padded=8, input_width=8)
ACCUMULATE = ConvSpec(dynamic=False, channels=8, width=1, layers=1, input_width=8)


def choose(spec: OpSpec) -> tuple[str, Kernel] | None:
    """The kernels of the case, as a schedule rule would emit them."""

    def double() -> None:
        x, y = declare_or_bind("x", (1, 8)), declare_or_bind("y", (1, 8))
        with builder.parallel(8) as i:
            builder.buffer_store(y, x[0, i] * builder.float32(2), [0, i])

    def accumulate() -> None:
        x, state, y = (declare_or_bind(name, (1, 8)) for name in ("x", "state", "y"))
        with builder.parallel(8) as i:
            builder.buffer_store(state, state[0, i] + x[0, i], [0, i])
            builder.buffer_store(y, state[0, i] * x[0, i], [0, i])

    name, body = {DOUBLE: ("double", double), ACCUMULATE: ("accumulate", accumulate)}[spec]
    return name, Kernel(spec, name, body)


@I.ir_module(s_tir=True)
class Apart:
    """Two calls; what passes between them is a tensor."""

    @T.prim_func(private=True, s_tir=True)
    def double(
        x: T.Buffer((1, 8), "float32", layout=None), y: T.Buffer((1, 8), "float32", layout=None)
    ):
        T.func_attr(
            {
                "c4n.kind": "quantize",
                "c4n.cols": 8,
                "c4n.group": 8,
                "c4n.padded": 8,
                "c4n.input_width": 8,
                "c4n.dynamic": False,
                "c4n.schedule": "double",
                "op_pattern": 8,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for i in T.parallel(8):
                y[0, i] = x[0, i] * T.float32(2)

    @T.prim_func(private=True, s_tir=True)
    def accumulate(
        x: T.Buffer((1, 8), "float32", layout=None),
        state: T.Buffer((1, 8), "float32", layout=None),
        y: T.Buffer((1, 8), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "conv1d",
                "c4n.channels": 8,
                "c4n.width": 1,
                "c4n.layers": 1,
                "c4n.input_width": 8,
                "c4n.dynamic": False,
                "c4n.schedule": "accumulate",
                "op_pattern": 8,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for i in T.parallel(8):
                state[0, i] = state[0, i] + x[0, i]
                y[0, i] = state[0, i] * x[0, i]

    @R.function
    def main(x: R.Tensor((1, 8), "float32"), s: R.Tensor((1, 8), "float32")) -> R.Tensor(
        (1, 8), "float32"
    ):
        cls = Apart
        with R.dataflow():
            state = R.exp(s)
            lv = R.call_tir(cls.double, (x,), out_ty=R.Tensor((1, 8), "float32"))
            lv1 = R.call_tir_inplace(
                cls.accumulate,
                (lv, state),
                inplace_indices=[1, -1],
                out_ty=[R.Tensor((1, 8), "float32"), R.Tensor((1, 8), "float32")],
            )
            lv2 = lv1[0]
            lv3 = lv1[1]
            gv = R.subtract(lv2, lv3)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Together:
    """One call with one launch; what passes between the kernels lies in a workspace."""

    @T.prim_func(private=True, s_tir=True)
    def region(
        x: T.Buffer((1, 8), "float32", layout=None),
        state: T.Buffer((1, 8), "float32", layout=None),
        y: T.Buffer((1, 8), "float32", layout=None),
        work: T.Buffer((64,), "float32", layout=None),
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
            pointer: T.let = T.address_of(work[0])
            between = T.decl_buffer((1, 8), data=pointer, layout=None)
            with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        between[0, i] = x[0, i] * T.float32(2)
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        state[0, i] = state[0, i] + between[0, i]
                        y[0, i] = state[0, i] * between[0, i]

    @R.function
    def main(x: R.Tensor((1, 8), "float32"), s: R.Tensor((1, 8), "float32")) -> R.Tensor(
        (1, 8), "float32"
    ):
        cls = Together
        with R.dataflow():
            state = R.exp(s)
            fused = R.call_tir_inplace(
                cls.region,
                (x, state),
                inplace_indices=[1, -1, -1],
                out_ty=[
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((64,), "float32"),
                ],
            )
            lv2 = fused[0]
            lv3 = fused[1]
            gv = R.subtract(lv2, lv3)
            R.output(gv)
        return gv
