"""One token of Mamba-2's scan: a head's state is read and written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import ssd_scan
from tvm_c4n.ops.slots import sequences
from tvm_c4n.ops.spec import SsdSpec
from tvm_c4n.ops.tir import (
    LOG2_E,
    ColumnTiles,
    exp2,
    f32,
    load,
    local,
    loop,
    silu,
    softplus,
    splat,
    store,
    tokens_of,
)

# Vectors of channels that pass over a head's states together.
TOGETHER = 8

# Columns of a head: the first one, and how many a vector has.
Piece = tuple[Any, int]


def pieces(start: Any, extent: int, lanes: int) -> list[Piece]:
    """Cover columns with vectors, and the rest one by one."""
    whole = extent // lanes * lanes
    found: list[Piece] = [(start + at, lanes) for at in range(0, whole, lanes)]
    return found + [(start + at, 1) for at in range(whole, extent)]


def rates(spec: SsdSpec, args: tuple[Any, ...], place: tuple[Any, Any], lanes: int) -> Any:
    """Return delta and decay of `lanes` heads; `place` is the token and the first head."""
    _, _, _, bcdt, a, bias, *_ = args
    t, head = place
    raw = load(bcdt, (t,), spec.bc_width + head, lanes)
    step = softplus(raw + load(bias, (), head, lanes), lanes)
    delta = T.bind(ssd_scan.clamped(spec, step, lambda limit: f32(limit, lanes)))
    return delta, exp2(delta * load(a, (), head, lanes) * f32(LOG2_E, lanes), lanes)


def decode_tiles(spec: SsdSpec, intrin: Intrinsics) -> ColumnTiles:
    """Return heads as tiles of columns."""

    def emit(args: Any, start: Any, width: int) -> None:
        state, where = args[7:9]
        texts, _ = sequences(where.slots)
        with loop(width // spec.head_dim) as index, loop(texts) as t:
            head = start // spec.head_dim + index
            delta, decay = rates(spec, args, (t, head), 1)
            covered = pieces(0, spec.head_dim, intrin.lanes)
            for at in range(0, len(covered), TOGETHER):
                token(
                    spec,
                    args,
                    (t, head, covered[at : at + TOGETHER]),
                    (delta, decay),
                    (state, (*where(t), head), 0),
                )

    return ColumnTiles(
        extent=spec.inner,
        multiple=spec.head_dim,
        width=spec.head_dim,
        # x and state; those of one number a head are not columns.
        elementwise_args=frozenset((0, 7)),
        declare=lambda: ssd_scan.declare(spec, tokens_of(spec)),
        emit=emit,
    )


def token(
    spec: SsdSpec,
    args: tuple[Any, ...],
    place: tuple[Any, Any, Sequence[Piece]],
    step: tuple[Any, Any],
    where: tuple[Any, tuple[Any, ...], Any],
) -> None:
    """Emit one token for some columns of a head.

    `place` is the token, the head and the columns, `step` delta and decay, `where` the buffer of
    the states, its first indices, and the column with which its rows begin.
    """
    source, bc, _, _, _, _, skip, *_ = args
    (t, head, columns), (delta, decay), (h, outer, origin) = place, step, where
    b, c = ssd_scan.columns_of(spec, head)
    # Step 1: delta * x drives all states of a channel.
    drives, totals = [], [local((width,)) for _, width in columns]
    for (column, width), total in zip(columns, totals, strict=True):
        value = T.bind(load(source, (t,), head * spec.head_dim + column, width))
        drives.append(T.bind(value * splat(delta, width)))
        store(total, (), 0, width, value * splat(skip[head], width))
    # Step 2: each state decays, is driven, and adds to the output.
    with T.serial(spec.state) as s:
        driven, seen = T.bind(bc[t, b + s]), T.bind(bc[t, c + s])
        for (column, width), total, drive in zip(columns, totals, drives, strict=True):
            old = ssd_scan.load_state(h, (*outer, s), column - origin, width)
            new = T.bind(old * splat(decay, width) + drive * splat(driven, width))
            ssd_scan.store_state(h, (*outer, s), column - origin, width, new)
            seen_now = load(total, (), 0, width) + new * splat(seen, width)
            store(total, (), 0, width, seen_now)
    # Step 3: the gate.
    for (column, width), total in zip(columns, totals, strict=True):
        gate(spec, args, (t, head, column), width, load(total, (), 0, width))


def gate(
    spec: SsdSpec, args: tuple[Any, ...], place: tuple[Any, Any, Any], width: int, value: Any
) -> None:
    """Emit ``out = value * silu(z)``; `place` is the token, the head and its column."""
    _, _, zx, *_, out = args
    t, head, column = place
    at = head * spec.head_dim + column
    store(out, (t,), at, width, value * silu(load(zx, (t,), at, width), width))
