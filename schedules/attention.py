"""Attention: one pass over the ring for a tile of query rows (`schedules.attention_tile`)."""

from __future__ import annotations

from typing import Any

from schedules.attention_tile import WIDE, Tile, rotated
from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import attention, ring
from tvm_c4n.ops.attention import Args
from tvm_c4n.ops.slots import sequences
from tvm_c4n.ops.spec import AttentionSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, load, loop, store, tokens_of, vectors

# Query rows of a tile in prefill, at most: with a block of keys and one of values they fit L1.
ROWS = 48


class Attention:
    """Heads of keys and values in parallel, in prefill tiles of tokens, too."""

    name = "attention"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of an attention."""
        if not isinstance(spec, AttentionSpec):
            return None
        # LLVM splits vectors of `WIDE` elements into the registers that there are.
        sums = max(intrin.sums * intrin.lanes // WIDE, 1)
        group = spec.heads // spec.kv_heads
        if not spec.prefill:
            return Kernel.of_tiles(spec, self.name, _heads(spec, sums))

        def body() -> None:
            tokens = tokens_of(spec)
            args = attention.declare(spec, tokens)
            with T.parallel(spec.kv_heads) as head:
                _remember(spec, args, head, tokens)
            size = max(ROWS // group, 1)
            tiles = T.floordiv(tokens + size - 1, size)
            with T.parallel(spec.kv_heads * tiles) as task:
                # Early and late tiles in turn: the late ones see more keys.
                number = T.floormod(task, tiles)
                turn = T.Select(
                    T.floormod(number, 2) == 0, number // 2, tiles - 1 - T.floordiv(number, 2)
                )
                Tile(spec, args, tokens, task // tiles, turn * size, size, sums).emit()

        return Kernel(spec, self.name, body)


def _heads(spec: AttentionSpec, sums: int) -> ColumnTiles:
    """Return tiles of columns of one token (of each sequence): heads that share keys and values."""
    width = spec.heads // spec.kv_heads * spec.head_dim

    def emit(args: Args, start: Any, columns: int) -> None:
        texts, _ = sequences(args.where.slots)
        with loop(columns // width) as index, loop(texts) as s:
            head = T.floordiv(start, width) + index
            _remember(spec, args, head, 1, s)
            Tile(spec, args, 1, head, 0, 1, sums, s).emit()

    return ColumnTiles(
        extent=spec.heads * spec.head_dim,
        multiple=width,
        width=width,
        # q's columns.
        elementwise_args=frozenset((0,)),
        declare=lambda: attention.declare(spec, tokens_of(spec)),
        emit=emit,
    )


def _remember(spec: AttentionSpec, args: Args, head: Any, tokens: Any, sequence: Any = 0) -> None:
    """Write keys and values of one head into the ring.

    `tokens` are those of the sequence whose first token is number `sequence` of the call.
    """
    newest, outer = ring.stay(spec, tokens), (*args.where(sequence), head)
    begin, column = ring.first_place(args.position, sequence), head * spec.head_dim
    with loop(newest) as n:
        at = tokens - newest + n
        t = sequence + at
        block, place = (T.bind(x) for x in ring.slot(spec, begin + at))

        def key(i: Any, lanes: int, value: Any) -> None:
            found = ring.stored(spec, value, lanes)
            T.buffer_store(args.keys, found, [*outer, block, i, place])

        def value(i: Any, lanes: int) -> None:
            found = ring.stored(spec, load(args.v, (t,), column + i, lanes), lanes)
            store(args.values, (*outer, block, place), i, lanes, found)

        rotated(spec, (args.k, args.angles), (t, column), 1, key)
        vectors(spec.head_dim, WIDE, value)
