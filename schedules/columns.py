"""The frame of operators on columns that are independent of each other: an MLP's activations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from schedules.base import parallel_channels
from tvm_c4n.ops.tir import ColumnTiles, Kernel, loop, tokens_of, vectors


def column_kernel(
    spec: Any,
    name: str,
    lanes: int,
    declare: Callable[[Any, Any], tuple[Any, ...]],
    columns: Callable[[tuple[Any, ...], Any, Any, int], None],
    elementwise_args: frozenset[int],
) -> Kernel:
    """Return a kernel over vectors of columns: those of one token, or whole tokens, in parallel.

    A token's tiles can follow those of the projection that gives its columns.

    Parameters
    ----------
    spec : OpSpec
        With `cols`.
    name : str
        The rule's.
    lanes : int
        Of a vector.
    declare : callable
        ``declare(spec, tokens)`` declares the arguments, the output behind all inputs.
    columns : callable
        ``columns(args, token, start, lanes)`` emits a vector of columns.
    elementwise_args : frozenset of int
        See `ColumnTiles`.
    """
    n = spec.cols
    if not spec.prefill and n % lanes == 0:

        def tile(args: tuple[Any, ...], start: Any, width: int) -> None:
            with loop(args[-1].shape[0] if spec.dynamic else 1) as t:
                vectors(width, lanes, lambda at, count: columns(args, t, start + at, count))

        return Kernel.of_tiles(
            spec,
            name,
            ColumnTiles(
                extent=n,
                multiple=lanes,
                width=next(w for w in (4, 2, 1) if n % (w * lanes) == 0) * lanes,
                elementwise_args=elementwise_args,
                declare=lambda: declare(spec, tokens_of(spec)),
                emit=tile,
            ),
        )

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        if not spec.dynamic:
            parallel_channels(n, lanes, partial(columns, args, 0))
            return
        with loop(tokens, parallel=True) as t:
            vectors(n, lanes, partial(columns, args, t))

    return Kernel(spec, name, body)
