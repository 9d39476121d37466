"""Squared ReLU: vectors of columns, those of one token or whole tokens in parallel."""

from __future__ import annotations

from typing import Any

from schedules.base import parallel_channels
from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import relu_squared
from tvm_c4n.ops.spec import OpSpec, ReluSquaredSpec
from tvm_c4n.ops.tir import (
    ColumnTiles,
    Kernel,
    f32,
    load,
    loop,
    store,
    tokens_of,
    vectors,
)


class ReluSquared:
    """Columns are independent: a token's tiles can follow those of the projection."""

    name = "relu_squared"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a squared ReLU."""
        if not isinstance(spec, ReluSquaredSpec):
            return None
        lanes, n = intrin.lanes, spec.cols
        if not spec.prefill and n % lanes == 0:
            return Kernel.of_tiles(spec, self.name, _tiles(spec, lanes))

        def body() -> None:
            tokens = tokens_of(spec)
            args = relu_squared.declare(spec, tokens)
            if not spec.dynamic:
                parallel_channels(n, lanes, lambda at, count: _columns(args, 0, at, count))
                return
            with loop(tokens, parallel=True) as t:
                vectors(n, lanes, lambda at, count: _columns(args, t, at, count))

        return Kernel(spec, self.name, body)


def _tiles(spec: ReluSquaredSpec, lanes: int) -> ColumnTiles:
    width = next(w for w in (4, 2, 1) if spec.cols % (w * lanes) == 0) * lanes

    def emit(args: tuple[Any, ...], start: Any, width: int) -> None:
        with loop(args[1].shape[0] if spec.dynamic else 1) as t:
            vectors(width, lanes, lambda at, count: _columns(args, t, start + at, count))

    return ColumnTiles(
        extent=spec.cols,
        multiple=lanes,
        width=width,
        elementwise_args=frozenset((0, 1)),
        declare=lambda: relu_squared.declare(spec, tokens_of(spec)),
        emit=emit,
    )


def _columns(args: tuple[Any, ...], t: Any, start: Any, lanes: int) -> None:
    """Emit a vector of columns of one token."""
    x, out = args
    value = T.bind(T.max(load(x, (t,), start, lanes), f32(0.0, lanes)))
    store(out, (t,), start, lanes, value * value)
