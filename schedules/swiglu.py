"""SwiGLU: vectors of columns."""

from __future__ import annotations

from functools import partial
from typing import Any

from schedules.columns import column_kernel
from schedules.intrin.base import Intrinsics
from tvm_c4n.ops import swiglu
from tvm_c4n.ops.spec import OpSpec, SwigluSpec
from tvm_c4n.ops.tir import Kernel, load, silu, store


class Swiglu:
    """Columns are independent: a token's tiles can follow those of both projections."""

    name = "swiglu"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a SwiGLU."""
        if not isinstance(spec, SwigluSpec):
            return None
        # Of a fused input, a tile reads columns of two places.
        args = frozenset((1,) if spec.fused else (0, 1, 2))
        columns = partial(_columns, spec)
        return column_kernel(spec, self.name, intrin.lanes, swiglu.declare, columns, args)


def _columns(spec: SwigluSpec, args: tuple[Any, ...], t: Any, start: Any, lanes: int) -> None:
    """Emit a vector of columns of one token."""
    inputs, out = args
    gate, up, first = swiglu.gate_and_up(spec, inputs)
    activated = silu(load(gate, (t,), start, lanes), lanes)
    store(out, (t,), start, lanes, activated * load(up, (t,), first + start, lanes))
