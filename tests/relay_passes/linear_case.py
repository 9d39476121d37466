"""One small dense layer through RewriteDenseToC4n, RepackWeights, BindSchedules and LiftConstants.

The modules and the bytes of their constants are written out, so that a mistake in the definition of
the operator, in the repacked format or in a schedule cannot stand on both sides of a comparison.
"""

from __future__ import annotations

import numpy as np
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_c4n._tvm import IRModule, tvm

# Two zeros in each group of four columns.
WEIGHT = np.array(
    [
        [1, 0, 2, 0, 0, 3, 4, 0],
        [0, 5, 0, 6, 7, 0, 0, 8],
        [9, 10, 0, 0, 0, 0, 11, 12],
        [0, 13, 14, 0, 15, 0, 16, 0],
    ],
    np.float32,
)
# As stored: the kept weights of each row, and where in its group each stood: 2 bits each, from the
# lowest.
VALUES = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
POSITIONS = np.array([[0b10_01_10_00], [0b11_00_11_01], [0b11_10_01_00], [0b10_00_10_01]], np.uint8)
# Repacked for 4 lanes: 4 bytes of positions for each row, then up to 16 columns of kept weights, in
# each the 4 rows next to each other. What the layer does not have is zero.
REPACKED = np.zeros((1, 1, 16 + 16 * 4 * 4), np.uint8)
REPACKED[0, 0, 0:16:4] = POSITIONS[:, 0]
REPACKED[0, 0, 16:80] = np.ascontiguousarray(VALUES.T).reshape(-1).view(np.uint8)


@I.ir_module(s_tir=True)
class Dense:
    """``x @ permute_dims(W)``."""

    @R.function
    def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
        with R.dataflow():
            lv = R.permute_dims(R.const(WEIGHT))
            gv = R.matmul(x, lv)
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Stored:
    """The C4n operator by its definition, on weights as they are stored."""

    @T.prim_func(private=True, s_tir=True)
    def linear(
        x: T.Buffer((1, 8), "float32", layout=None),
        weight0: T.Buffer((4, 4), "float32", layout=None),
        weight1: T.Buffer((4, 1), "uint8", layout=None),
        out: T.Buffer((1, 4), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "linear",
                "c4n.rows": 4,
                "c4n.cols": 8,
                "c4n.removed": 2,
                "c4n.dtype": "float32",
                "c4n.scale_group": 0,
                "c4n.lanes": 0,
                "c4n.input_width": 8,
                "c4n.bias": False,
                "c4n.residual": False,
                "c4n.dynamic": False,
                "op_pattern": 8,
                "tirx.noalias": True,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for row in range(4):
                out[0, row] = T.float32(0)
                for unit in range(1):
                    sum = T.alloc_buffer((1,), layout=None)
                    sum[0] = T.float32(0)
                    for k in range(T.min(2, 2 - unit * 2) * 2):
                        sum[0] = (
                            sum[0]
                            + weight0[row, (unit * 2 + k // 2) * 2 + k % 2]
                            * x[
                                0,
                                (unit * 2 + k // 2) * 4
                                + T.Cast(
                                    "int32",
                                    T.Cast(
                                        "uint32",
                                        weight1[row, ((unit * 2 + k // 2) * 2 + k % 2) // 4],
                                    )
                                    >> T.Cast("uint32", 2 * (((unit * 2 + k // 2) * 2 + k % 2) % 4))
                                    & T.uint32(3),
                                ),
                            ]
                        )
                    out[0, row] = out[0, row] + sum[0]

    @R.function
    def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
        cls = Stored
        with R.dataflow():
            gv = R.call_tir(
                cls.linear,
                (x, R.const(VALUES), R.const(POSITIONS)),
                out_ty=R.Tensor((1, 4), "float32"),
            )
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Repacked:
    """The same by its definition, on repacked weights."""

    # RepackWeights adds its kernel next to the one that it replaces, so the name has a number.
    @T.prim_func(private=True, s_tir=True)
    def linear1(
        x: T.Buffer((1, 8), "float32", layout=None),
        weight0: T.Buffer((1, 1, 272), "uint8", layout=None),
        out: T.Buffer((1, 4), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "linear",
                "c4n.rows": 4,
                "c4n.cols": 8,
                "c4n.removed": 2,
                "c4n.dtype": "float32",
                "c4n.scale_group": 0,
                "c4n.lanes": 4,
                "c4n.input_width": 8,
                "c4n.bias": False,
                "c4n.residual": False,
                "c4n.dynamic": False,
                "op_pattern": 8,
                "tirx.noalias": True,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for v in range(4):
                out[0, v] = T.float32(0)
                for u in range(1):
                    sum = T.alloc_buffer((1,), layout=None)
                    sum[0] = T.float32(0)
                    for k in range(T.min(2, 2 - u * 2) * 2):
                        sum[0] = (
                            sum[0]
                            + T.reinterpret(
                                "float32",
                                weight0[
                                    v // 4,
                                    (u * 2 + k // 2) // 8,
                                    T.Ramp(
                                        ((u * 2 + k // 2) % 8 * 2 + k % 2) // 16 * 272
                                        + 16
                                        + ((u * 2 + k // 2) % 8 * 2 + k % 2) % 16 * 16
                                        + v % 4 * 4,
                                        1,
                                        4,
                                    ),
                                ],
                            )
                            * x[
                                0,
                                (u * 2 + k // 2) * 4
                                + T.Cast(
                                    "int32",
                                    T.Cast(
                                        "uint32",
                                        weight0[
                                            v // 4,
                                            (u * 2 + k // 2) // 8,
                                            v % 4 * 4 + ((u * 2 + k // 2) % 8 * 2 + k % 2) // 4,
                                        ],
                                    )
                                    >> T.Cast(
                                        "uint32", 2 * (((u * 2 + k // 2) % 8 * 2 + k % 2) % 4)
                                    )
                                    & T.uint32(3),
                                ),
                            ]
                        )
                    out[0, v] = out[0, v] + sum[0]

    @R.function
    def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
        cls = Repacked
        with R.dataflow():
            gv = R.call_tir(cls.linear1, (x, R.const(REPACKED)), out_ty=R.Tensor((1, 4), "float32"))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Bound:
    """The same with the kernel of the rule for portable vectors of 4 lanes."""

    @T.prim_func(private=True, s_tir=True)
    def linear1(
        x: T.Buffer((1, 8), "float32", layout=None),
        weight0: T.Buffer((1, 1, 272), "uint8", layout=None),
        out: T.Buffer((1, 4), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "linear",
                "c4n.rows": 4,
                "c4n.cols": 8,
                "c4n.removed": 2,
                "c4n.dtype": "float32",
                "c4n.scale_group": 0,
                "c4n.lanes": 4,
                "c4n.input_width": 8,
                "c4n.bias": False,
                "c4n.residual": False,
                "c4n.dynamic": False,
                "c4n.schedule": "c4n_gemv",
                "op_pattern": 8,
                "tirx.is_scheduled": True,
                "tirx.noalias": True,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for v in T.parallel(1):
                sums = T.alloc_buffer((4,), layout=None)
                sums[0:4] = T.Broadcast(T.float32(0), 4)
                codes: T.let[T.uint32x4] = T.reinterpret(
                    "uint32x4", weight0[v * 4 // 4, 0, T.Ramp(0, 1, 16)]
                )
                code0: T.let[T.uint32x4] = codes >> T.Broadcast(T.uint32(0), 4) & T.Broadcast(
                    T.uint32(3), 4
                )
                value0: T.let[T.float32x4] = T.reinterpret(
                    "float32x4", weight0[v * 4 // 4, 0, T.Ramp(16, 1, 16)]
                )
                sums[0:4] = sums[T.Ramp(0, 1, 4)] + value0 * T.Select(
                    code0 == T.Broadcast(T.uint32(0), 4),
                    T.Broadcast(x[0, 0], 4),
                    T.Select(
                        code0 == T.Broadcast(T.uint32(1), 4),
                        T.Broadcast(x[0, 1], 4),
                        T.Select(
                            code0 == T.Broadcast(T.uint32(2), 4),
                            T.Broadcast(x[0, 2], 4),
                            T.Broadcast(x[0, 3], 4),
                        ),
                    ),
                )
                code1: T.let[T.uint32x4] = codes >> T.Broadcast(T.uint32(2), 4) & T.Broadcast(
                    T.uint32(3), 4
                )
                value1: T.let[T.float32x4] = T.reinterpret(
                    "float32x4", weight0[v * 4 // 4, 0, T.Ramp(32, 1, 16)]
                )
                sums[0:4] = sums[T.Ramp(0, 1, 4)] + value1 * T.Select(
                    code1 == T.Broadcast(T.uint32(0), 4),
                    T.Broadcast(x[0, 0], 4),
                    T.Select(
                        code1 == T.Broadcast(T.uint32(1), 4),
                        T.Broadcast(x[0, 1], 4),
                        T.Select(
                            code1 == T.Broadcast(T.uint32(2), 4),
                            T.Broadcast(x[0, 2], 4),
                            T.Broadcast(x[0, 3], 4),
                        ),
                    ),
                )
                code2: T.let[T.uint32x4] = codes >> T.Broadcast(T.uint32(4), 4) & T.Broadcast(
                    T.uint32(3), 4
                )
                value2: T.let[T.float32x4] = T.reinterpret(
                    "float32x4", weight0[v * 4 // 4, 0, T.Ramp(48, 1, 16)]
                )
                sums[0:4] = sums[T.Ramp(0, 1, 4)] + value2 * T.Select(
                    code2 == T.Broadcast(T.uint32(0), 4),
                    T.Broadcast(x[0, 4], 4),
                    T.Select(
                        code2 == T.Broadcast(T.uint32(1), 4),
                        T.Broadcast(x[0, 5], 4),
                        T.Select(
                            code2 == T.Broadcast(T.uint32(2), 4),
                            T.Broadcast(x[0, 6], 4),
                            T.Broadcast(x[0, 7], 4),
                        ),
                    ),
                )
                code3: T.let[T.uint32x4] = codes >> T.Broadcast(T.uint32(6), 4) & T.Broadcast(
                    T.uint32(3), 4
                )
                value3: T.let[T.float32x4] = T.reinterpret(
                    "float32x4", weight0[v * 4 // 4, 0, T.Ramp(64, 1, 16)]
                )
                sums[0:4] = sums[T.Ramp(0, 1, 4)] + value3 * T.Select(
                    code3 == T.Broadcast(T.uint32(0), 4),
                    T.Broadcast(x[0, 4], 4),
                    T.Select(
                        code3 == T.Broadcast(T.uint32(1), 4),
                        T.Broadcast(x[0, 5], 4),
                        T.Select(
                            code3 == T.Broadcast(T.uint32(2), 4),
                            T.Broadcast(x[0, 6], 4),
                            T.Broadcast(x[0, 7], 4),
                        ),
                    ),
                )
                out[0, v * 4 // 4 * 4 : v * 4 // 4 * 4 + 4] = sums[T.Ramp(0, 1, 4)]

    @R.function
    def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
        cls = Bound
        with R.dataflow():
            gv = R.call_tir(cls.linear1, (x, R.const(REPACKED)), out_ty=R.Tensor((1, 4), "float32"))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Halved:
    """A constant tensor, and a constant without a dimension."""

    @R.function
    def main(x: R.Tensor((2, 4), "float32")) -> R.Tensor((2, 4), "float32"):
        with R.dataflow():
            lv = R.multiply(x, R.const(0.5, "float32"))
            gv = R.add(lv, R.const(VALUES[:2]))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class HalvedLifted:
    """The same, its tensor an argument."""

    @R.function
    def main(x: R.Tensor((2, 4), "float32"), weight0: R.Tensor((2, 4), "float32")) -> R.Tensor(
        (2, 4), "float32"
    ):
        with R.dataflow():
            lv = R.multiply(x, R.const(0.5, "float32"))
            gv = R.add(lv, weight0)
            R.output(gv)
        return gv


def halved_lifted() -> IRModule:
    """`HalvedLifted` with its attribute, which TVMScript has no word for."""
    return HalvedLifted.with_attr("c4n.constants", [tvm.runtime.tensor(VALUES[:2].copy())])
