"""SwiGLU: vectors of columns, those of one token or whole tokens in parallel."""

from __future__ import annotations

from functools import partial
from typing import Any

from schedules.base import parallel_channels
from schedules.intrin.base import Intrinsics
from tvm_c4n.ops import swiglu
from tvm_c4n.ops.spec import OpSpec, SwigluSpec
from tvm_c4n.ops.tir import (
    ColumnTiles,
    Kernel,
    load,
    loop,
    silu,
    store,
    tokens_of,
    vectors,
)


class Swiglu:
    """Columns are independent: a token's tiles can follow those of both projections."""

    name = "swiglu"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a SwiGLU."""
        if not isinstance(spec, SwigluSpec):
            return None
        lanes, n = intrin.lanes, spec.cols
        if not spec.prefill and n % lanes == 0:
            return Kernel.of_tiles(spec, self.name, _tiles(spec, lanes))

        def body() -> None:
            tokens = tokens_of(spec)
            args = swiglu.declare(spec, tokens)
            if not spec.dynamic:
                parallel_channels(n, lanes, partial(_columns, spec, args, 0))
                return
            with loop(tokens, parallel=True) as t:
                vectors(n, lanes, partial(_columns, spec, args, t))

        return Kernel(spec, self.name, body)


def _tiles(spec: SwigluSpec, lanes: int) -> ColumnTiles:
    """Return tiles of columns; of a fused input, a tile reads columns of two places."""
    width = next(w for w in (4, 2, 1) if spec.cols % (w * lanes) == 0) * lanes

    def emit(args: tuple[Any, ...], start: Any, width: int) -> None:
        with loop(args[1].shape[0] if spec.dynamic else 1) as t:
            vectors(width, lanes, lambda at, count: _columns(spec, args, t, start + at, count))

    return ColumnTiles(
        extent=spec.cols,
        multiple=lanes,
        width=width,
        elementwise_args=frozenset((1,) if spec.fused else (0, 1, 2)),
        declare=lambda: swiglu.declare(spec, tokens_of(spec)),
        emit=emit,
    )


def _columns(spec: SwigluSpec, args: tuple[Any, ...], t: Any, start: Any, lanes: int) -> None:
    """Emit a vector of columns of one token."""
    inputs, out = args
    gate, up, first = swiglu.gate_and_up(spec, inputs)
    activated = silu(load(gate, (t,), start, lanes), lanes)
    store(out, (t,), start, lanes, activated * load(up, (t,), first + start, lanes))
