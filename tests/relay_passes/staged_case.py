"""FuseRegions: a kernel that waits for nothing runs before a barrier that stood ahead of it."""

from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T


@I.ir_module(s_tir=True)
class Apart:
    """`other` is doubled last, although nothing before it makes it."""

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
    def main(
        x: R.Tensor((1, 8), "float32"),
        s: R.Tensor((1, 8), "float32"),
        other: R.Tensor((1, 8), "float32"),
    ) -> R.Tensor((1, 8), "float32"):
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
            lv4 = R.call_tir(cls.double, (other,), out_ty=R.Tensor((1, 8), "float32"))
            lv5 = R.subtract(lv2, lv3)
            gv = R.subtract(lv5, lv4)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Together:
    """Both are doubled in the first stage, one loop behind the other."""

    @T.prim_func(private=True, s_tir=True)
    def region(
        x: T.Buffer((1, 8), "float32", layout=None),
        other: T.Buffer((1, 8), "float32", layout=None),
        state: T.Buffer((1, 8), "float32", layout=None),
        doubled: T.Buffer((1, 8), "float32", layout=None),
        y: T.Buffer((1, 8), "float32", layout=None),
        work: T.Buffer((64,), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.region": "quantize quantize conv1d",
                "c4n.schedules": "double; double; accumulate",
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
                    for i in T.parallel(8):
                        doubled[0, i] = other[0, i] * T.float32(2)
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(8):
                        state[0, i] = state[0, i] + between[0, i]
                        y[0, i] = state[0, i] * between[0, i]

    @R.function
    def main(
        x: R.Tensor((1, 8), "float32"),
        s: R.Tensor((1, 8), "float32"),
        other: R.Tensor((1, 8), "float32"),
    ) -> R.Tensor((1, 8), "float32"):
        cls = Together
        with R.dataflow():
            state = R.exp(s)
            fused = R.call_tir_inplace(
                cls.region,
                (x, other, state),
                inplace_indices=[2, -1, -1, -1],
                out_ty=[
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((1, 8), "float32"),
                    R.Tensor((64,), "float32"),
                ],
            )
            lv2 = fused[0]
            lv4 = fused[1]
            lv3 = fused[2]
            lv5 = R.subtract(lv2, lv3)
            gv = R.subtract(lv5, lv4)
            R.output(gv)
        return gv
