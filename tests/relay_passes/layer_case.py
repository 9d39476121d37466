"""A layer of two parts, each with a sum at its end: a state is updated, then an MLP follows."""

from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.relay_passes import fused_case
from tvm_c4n._tvm import T as builder
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, declare_or_bind

SUM = LinearSpec(False, 8, 8, 0, "float32", 0, 4, 8, residual=True)


def choose(spec: OpSpec) -> tuple[str, Kernel] | None:
    """The kernels of the case."""

    def add() -> None:
        x, h, y = (declare_or_bind(name, (1, 8)) for name in ("x", "h", "y"))
        with builder.parallel(8) as i:
            builder.buffer_store(y, x[0, i] + h[0, i], [0, i])

    return ("add", Kernel(SUM, "add", add)) if spec == SUM else fused_case.choose(spec)


@I.ir_module(s_tir=True)
class Parts:
    """Four calls."""

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

    @T.prim_func(private=True, s_tir=True)
    def add(
        x: T.Buffer((1, 8), "float32", layout=None),
        h: T.Buffer((1, 8), "float32", layout=None),
        y: T.Buffer((1, 8), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "linear",
                "c4n.rows": 8,
                "c4n.cols": 8,
                "c4n.removed": 0,
                "c4n.dtype": "float32",
                "c4n.scale_group": 0,
                "c4n.lanes": 4,
                "c4n.input_width": 8,
                "c4n.bias": False,
                "c4n.residual": True,
                "c4n.dynamic": False,
                "c4n.schedule": "add",
                "op_pattern": 8,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for i in T.parallel(8):
                y[0, i] = x[0, i] + h[0, i]

    @R.function
    def main(x: R.Tensor((1, 8), "float32"), s: R.Tensor((1, 8), "float32")) -> R.Tensor(
        (1, 8), "float32"
    ):
        cls = Parts
        with R.dataflow():
            state = R.exp(s)
            both = R.call_tir_inplace(
                cls.accumulate,
                (x, state),
                inplace_indices=[1, -1],
                out_ty=[R.Tensor((1, 8), "float32"), R.Tensor((1, 8), "float32")],
            )
            after = both[0]
            mixed = both[1]
            h = R.call_tir(cls.add, (mixed, x), out_ty=R.Tensor((1, 8), "float32"))
            inner = R.call_tir(cls.double, (h,), out_ty=R.Tensor((1, 8), "float32"))
            out = R.call_tir(cls.add, (inner, h), out_ty=R.Tensor((1, 8), "float32"))
            gv = R.subtract(out, after)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Layer:
    """One region: the first sum ends no layer, for what follows updates no state."""

    @T.prim_func(private=True, s_tir=True)
    def region(
        x: T.Buffer((1, 8), "float32", layout=None),
        state: T.Buffer((1, 8), "float32", layout=None),
        out: T.Buffer((1, 8), "float32", layout=None),
        work: T.Buffer((192,), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.region": "conv1d linear quantize linear",
                "c4n.schedules": "accumulate; add; double; add",
                "op_pattern": 8,
                "tirx.noalias": True,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            at_mixed: T.let = T.address_of(work[0])
            mixed = T.decl_buffer((1, 8), data=at_mixed, layout=None)
            at_h: T.let = T.address_of(work[64])
            h = T.decl_buffer((1, 8), data=at_h, layout=None)
            at_inner: T.let = T.address_of(work[128])
            inner = T.decl_buffer((1, 8), data=at_inner, layout=None)
            with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        state[0, i] = state[0, i] + x[0, i]
                        mixed[0, i] = state[0, i] * x[0, i]
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        h[0, i] = mixed[0, i] + x[0, i]
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        inner[0, i] = h[0, i] * T.float32(2)
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        out[0, i] = inner[0, i] + h[0, i]

    @R.function
    def main(x: R.Tensor((1, 8), "float32"), s: R.Tensor((1, 8), "float32")) -> R.Tensor(
        (1, 8), "float32"
    ):
        cls = Layer
        with R.dataflow():
            state = R.exp(s)
            fused = R.call_tir_inplace(
                cls.region,
                (x, state),
                inplace_indices=[1, -1, -1],
                out_ty=[
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((192,), "float32"),
                ],
            )
            after = fused[0]
            out = fused[1]
            gv = R.subtract(out, after)
            R.output(gv)
        return gv
