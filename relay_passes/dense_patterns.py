"""The patterns of a dense layer in Relax, read as one `Dense`.

=========================  =====================================================================
``matmul(x, W^T)``         torch's `nn.Linear`, `relax.frontend.nn`, ONNX Gemm (``transB``):
                           ``permute_dims`` of a constant
``matmul(x, M)``           ONNX MatMul: a constant of shape (cols, rows), leading ones allowed
``matmul(W, x)``           channels first: x is (..., cols, tokens)
``conv1d``, ``conv2d``     kernel 1, stride 1, no padding, one group; any layout of data and kernel
=========================  =====================================================================

Each may be followed by ``add`` with a constant that has one value per output channel: its bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay_passes.call_tir import address_of, op_name
from tvm_c4n._tvm import GenericConst, relax

FLOATS = ("float32", "float16")

# Answers a variable with what it is bound to, and any other expression with itself.
Lookup = Callable[[Any], Any]


@dataclass(frozen=True)
class Dense:
    """``out = x @ weight.T`` along one axis of x.

    Attributes
    ----------
    x : relax.Expr
    constant : GenericConst
        Holds the weight.
    axes : tuple of int
        Axes of the constant that are the weight's rows and columns; its others have length 1.
    axis : int
        Axis of x and of the result that holds the channels, not negative.
    """

    x: Any
    constant: GenericConst
    axes: tuple[int, int]
    axis: int

    @property
    def key(self) -> tuple[int, tuple[int, int]]:
        """Equal for layers that share a weight."""
        return address_of(self.constant), self.axes

    def matrix(self) -> NDArray[Any]:
        """Return the weight (rows, cols), C-contiguous."""
        array = self.constant.value.numpy()
        rows, cols = self.axes
        last_two = np.moveaxis(array, (rows, cols), (-2, -1))
        return np.ascontiguousarray(last_two.reshape(array.shape[rows], array.shape[cols]))


def match_dense(call: Any, lookup: Lookup) -> Dense | None:
    """Read a call as a dense layer.

    Parameters
    ----------
    call : relax.Expr
    lookup : callable

    Returns
    -------
    Dense or None
        None for every other call, and where activations or weights are no float32 or float16.
    """
    name = op_name(call)
    found = None
    if name == "relax.matmul":
        found = _right(call, lookup) or _left(call, lookup)
    elif name in ("relax.nn.conv1d", "relax.nn.conv2d"):
        found = _convolution(call, lookup)
    if found is None or not {str(found.constant.value.dtype), _dtype(found.x), _dtype(call)} <= {
        *FLOATS
    }:
        return None
    return found


def bias_of(constant: Any, dense: Dense, rows: int, rank: int) -> NDArray[np.float32] | None:
    """Return the bias (rows,) that adding a constant to a layer's result means, else None."""
    if not isinstance(constant, GenericConst):
        return None
    shape = [int(n) for n in constant.value.shape]
    aligned = [1] * (rank - len(shape)) + shape
    expected = [rows if axis == dense.axis else 1 for axis in range(rank)]
    if aligned != expected or str(constant.value.dtype) not in FLOATS:
        return None
    return np.ascontiguousarray(constant.value.numpy().reshape(rows), np.float32)


def _dtype(expr: Any) -> str:
    return str(expr.ty.dtype)


def _known_rank(expr: Any) -> int:
    """Return the rank of a tensor whose shape is known axis by axis, else 0."""
    kind = expr.ty
    if not isinstance(kind, relax.TensorType) or not isinstance(kind.shape, relax.ShapeExpr):
        return 0
    return len(kind.shape)


def _matrix(expr: Any, rank: int, lookup: Lookup) -> tuple[GenericConst, bool] | None:
    """Read a constant matrix, or the transpose of one: the constant, and whether it is one."""
    value, transposed = lookup(expr), False
    if op_name(value) == "relax.permute_dims":
        axes = value.attrs.axes
        value, transposed = lookup(value.args[0]), True
        two_axes = isinstance(value, GenericConst) and len(value.value.shape) == 2
        if not two_axes or (axes is not None and [int(a) % 2 for a in axes] != [1, 0]):
            return None
    if not isinstance(value, GenericConst) or not 2 <= len(value.value.shape) <= max(rank, 2):
        return None  # more leading ones than x has axes would add axes to the result
    return None if any(int(n) != 1 for n in list(value.value.shape)[:-2]) else (value, transposed)


def _right(call: Any, lookup: Lookup) -> Dense | None:
    x, rank = call.args[0], _known_rank(call.args[0])
    found = _matrix(call.args[1], rank, lookup)
    if found is None or rank == 0 or isinstance(lookup(x), GenericConst):
        return None
    constant, transposed = found
    last = len(constant.value.shape) - 1
    return Dense(x, constant, (last - 1, last) if transposed else (last, last - 1), rank - 1)


def _left(call: Any, lookup: Lookup) -> Dense | None:
    x, rank = call.args[1], _known_rank(call.args[1])
    found = _matrix(call.args[0], rank, lookup)
    if found is None or rank < 2 or isinstance(lookup(x), GenericConst):
        return None
    constant, transposed = found
    last = len(constant.value.shape) - 1
    return Dense(x, constant, (last, last - 1) if transposed else (last - 1, last), rank - 2)


def _convolution(call: Any, lookup: Lookup) -> Dense | None:
    x, constant, attrs = call.args[0], lookup(call.args[1]), call.attrs
    if not isinstance(constant, GenericConst) or _known_rank(x) == 0 or int(attrs.groups) != 1:
        return None
    data, kernel = str(attrs.data_layout), str(attrs.kernel_layout)
    if str(attrs.out_layout) not in ("", data) or set(kernel) - set(data) != {"O", "I"}:
        return None
    spatial = [int(n) for n, k in zip(constant.value.shape, kernel, strict=True) if k not in "OI"]
    steps, padding = [int(s) for s in attrs.strides], [int(p) for p in attrs.padding]
    if {*spatial, *steps} != {1} or any(padding):
        return None
    return Dense(x, constant, (kernel.index("O"), kernel.index("I")), data.index("C"))
