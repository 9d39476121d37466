"""Squared ReLU: vectors of columns."""

from __future__ import annotations

from typing import Any

from schedules.columns import column_kernel
from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import relu_squared
from tvm_c4n.ops.spec import OpSpec, ReluSquaredSpec
from tvm_c4n.ops.tir import Kernel, f32, load, store


class ReluSquared:
    """Columns are independent: a token's tiles can follow those of the projection."""

    name = "relu_squared"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a squared ReLU."""
        if not isinstance(spec, ReluSquaredSpec):
            return None
        args = frozenset((0, 1))
        return column_kernel(spec, self.name, intrin.lanes, relu_squared.declare, _columns, args)


def _columns(args: tuple[Any, ...], t: Any, start: Any, lanes: int) -> None:
    """Emit a vector of columns of one token."""
    x, out = args
    value = T.bind(T.max(load(x, (t,), start, lanes), f32(0.0, lanes)))
    store(out, (t,), start, lanes, value * value)
