"""What RewriteDenseToC4n makes of one and three removed weights, and of many tokens.

`linear_case` has it for two. Stored weights are the kept ones of each row, and positions of 2 bits.
"""

from __future__ import annotations

import numpy as np
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tests.relay_passes.linear_case import POSITIONS, VALUES

# Three kept weights in each group of four columns; a position is that of the removed one.
WEIGHT_1 = np.array(
    [
        [1, 2, 3, 0, 0, 4, 5, 6],
        [7, 0, 8, 9, 10, 11, 12, 0],
        [0, 13, 14, 15, 16, 17, 0, 18],
        [19, 20, 0, 21, 22, 0, 23, 24],
    ],
    np.float32,
)
VALUES_1 = np.arange(1, 25, dtype=np.float32).reshape(4, 6)
POSITIONS_1 = np.array([[0b00_11], [0b11_01], [0b10_00], [0b01_10]], np.uint8)
# One kept weight in each group.
WEIGHT_3 = np.array(
    [
        [0, 1, 0, 0, 0, 0, 0, 2],
        [3, 0, 0, 0, 0, 0, 4, 0],
        [0, 0, 5, 0, 6, 0, 0, 0],
        [0, 0, 0, 7, 0, 8, 0, 0],
    ],
    np.float32,
)
VALUES_3 = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
POSITIONS_3 = np.array([[0b11_01], [0b10_00], [0b00_10], [0b01_11]], np.uint8)


@I.ir_module(s_tir=True)
class Stored1:
    """One weight of each group is removed: those from its place on stand one further."""

    @T.prim_func(private=True, s_tir=True)
    def linear(
        x: T.Buffer((1, 8), "float32", layout=None),
        weight0: T.Buffer((4, 6), "float32", layout=None),
        weight1: T.Buffer((4, 1), "uint8", layout=None),
        out: T.Buffer((1, 4), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "linear",
                "c4n.rows": 4,
                "c4n.cols": 8,
                "c4n.removed": 1,
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
                    for k in range(T.min(2, 2 - unit * 2) * 3):
                        sum[0] = (
                            sum[0]
                            + weight0[row, (unit * 2 + k // 3) * 3 + k % 3]
                            * x[
                                0,
                                (unit * 2 + k // 3) * 4
                                + k % 3
                                + T.if_then_else(
                                    T.Cast(
                                        "int32",
                                        T.Cast("uint32", weight1[row, (unit * 2 + k // 3) // 4])
                                        >> T.Cast("uint32", 2 * ((unit * 2 + k // 3) % 4))
                                        & T.uint32(3),
                                    )
                                    <= k % 3,
                                    1,
                                    0,
                                ),
                            ]
                        )
                    out[0, row] = out[0, row] + sum[0]

    @R.function
    def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
        cls = Stored1
        with R.dataflow():
            gv = R.call_tir(
                cls.linear,
                (x, R.const(VALUES_1), R.const(POSITIONS_1)),
                out_ty=R.Tensor((1, 4), "float32"),
            )
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Stored3:
    """Three weights of each group are removed."""

    @T.prim_func(private=True, s_tir=True)
    def linear(
        x: T.Buffer((1, 8), "float32", layout=None),
        weight0: T.Buffer((4, 2), "float32", layout=None),
        weight1: T.Buffer((4, 1), "uint8", layout=None),
        out: T.Buffer((1, 4), "float32", layout=None),
    ):
        T.func_attr(
            {
                "c4n.kind": "linear",
                "c4n.rows": 4,
                "c4n.cols": 8,
                "c4n.removed": 3,
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
                    for k in range(T.min(2, 2 - unit * 2)):
                        sum[0] = (
                            sum[0]
                            + weight0[row, unit * 2 + k]
                            * x[
                                0,
                                (unit * 2 + k) * 4
                                + T.Cast(
                                    "int32",
                                    T.Cast("uint32", weight1[row, (unit * 2 + k) // 4])
                                    >> T.Cast("uint32", 2 * ((unit * 2 + k) % 4))
                                    & T.uint32(3),
                                ),
                            ]
                        )
                    out[0, row] = out[0, row] + sum[0]

    @R.function
    def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
        cls = Stored3
        with R.dataflow():
            gv = R.call_tir(
                cls.linear,
                (x, R.const(VALUES_3), R.const(POSITIONS_3)),
                out_ty=R.Tensor((1, 4), "float32"),
            )
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class StoredBatched:
    """Two weights of each group are removed; the kernel takes any number of tokens."""

    @T.prim_func(private=True, s_tir=True)
    def linear(
        x_handle: T.handle,
        weight0: T.Buffer((4, 4), "float32", layout=None),
        weight1: T.Buffer((4, 1), "uint8", layout=None),
        out_handle: T.handle,
    ):
        tokens = T.int64()
        x = T.match_buffer(x_handle, (tokens, 8), "float32", layout=None)
        out = T.match_buffer(out_handle, (tokens, 4), "float32", layout=None)
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
                "c4n.dynamic": True,
                "op_pattern": 8,
                "tirx.noalias": True,
            }
        )
        with T.sblock("root"):
            T.reads()
            T.writes()
            for token, row in T.grid(tokens, 4):
                out[token, row] = T.float32(0)
                for unit in range(1):
                    sum = T.alloc_buffer((1,), layout=None)
                    sum[0] = T.float32(0)
                    for k in range(T.min(2, 2 - unit * 2) * 2):
                        sum[0] = (
                            sum[0]
                            + weight0[row, (unit * 2 + k // 2) * 2 + k % 2]
                            * x[
                                token,
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
                    out[token, row] = out[token, row] + sum[0]

    @R.function
    def main(x: R.Tensor((2, 3, 8), "float32")) -> R.Tensor((2, 3, 4), "float32"):
        cls = StoredBatched
        with R.dataflow():
            lv = R.reshape(x, R.shape([6, 8]))
            lv1 = R.call_tir(
                cls.linear,
                (lv, R.const(VALUES), R.const(POSITIONS)),
                out_ty=R.Tensor((6, 4), "float32"),
            )
            gv = R.reshape(lv1, R.shape([2, 3, 4]))
            R.output(gv)
        return gv
