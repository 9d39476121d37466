"""Attention of a tile of query rows: block by block of keys and values, in one pass.

A row is a head of a token. The rows of a tile share one head of keys and values, so that each key
is read once for all of them: in a decode step the heads of a group, in prefill those of several
tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from schedules.online_softmax import across, weigh
from tvm_c4n._tvm import T
from tvm_c4n.ops import ring
from tvm_c4n.ops.attention import UNSEEN, Args, gate_column
from tvm_c4n.ops.ring import BLOCK
from tvm_c4n.ops.spec import AttentionSpec
from tvm_c4n.ops.tir import LOG2_E, f32, load, local, loop, sigmoid, splat, store, vectors

# Elements of the vectors that hold keys or columns of values, for every ISA family.
WIDE = 16


def rotated(
    spec: AttentionSpec,
    source: tuple[Any, Any],
    place: tuple[Any, Any],
    lanes: int,
    emit: Callable[[Any, int, Any], None],
) -> None:
    """Call ``emit(i, lanes, value)`` for the elements of a head, rotated, in vectors.

    `source` is the tensor and the angles, `place` the token and the head's first column.
    """
    (x, angles), (t, first) = source, place
    half = spec.rotary // 2

    def turn(i: Any, width: int) -> None:
        low, high = (T.bind(load(x, (t,), first + at + i, width)) for at in (0, half))
        cos, sin = (T.bind(load(angles, (t,), at + i, width)) for at in (0, half))
        emit(i, width, low * cos - high * sin)
        emit(half + i, width, high * cos + low * sin)

    def keep(i: Any, width: int) -> None:
        at = spec.rotary + i
        emit(at, width, load(x, (t,), first + at, width))

    vectors(half, lanes, turn)
    vectors(spec.head_dim - spec.rotary, lanes, keep)


@dataclass(frozen=True)
class Tile:
    """The rows of `count` tokens from `first` on for one head of keys and values.

    Attributes
    ----------
    tokens : int or PrimExpr
        All of the sequence; a tile may reach beyond them.
    sums : int
        Vectors of sums in registers.
    sequence : int or PrimExpr
        In a batch, the call's token that is the only one of its sequence.
    """

    spec: AttentionSpec
    args: Args
    tokens: Any
    head: Any
    first: Any
    count: int
    sums: int
    sequence: Any = 0

    @property
    def group(self) -> int:
        """Heads that share keys and values."""
        return self.spec.heads // self.spec.kv_heads

    @property
    def rows(self) -> int:
        """Query rows of the tile."""
        return self.count * self.group

    def token(self, row: Any) -> Any:
        """Return a row's token of the sequence, the last one for those beyond it."""
        if self.count == 1:
            return self.first
        return T.min(self.first + T.floordiv(row, self.group), self.tokens - 1)

    def column(self, row: Any) -> Any:
        """Return the first column of a row's head."""
        return (self.head * self.group + T.floormod(row, self.group)) * self.spec.head_dim

    def emit(self) -> None:
        """Emit the whole pass."""
        spec, wide = self.spec, (self.rows, self.spec.head_dim)
        query, result = local(wide), local(wide)
        scores, totals = local((self.rows, BLOCK)), local((self.rows, WIDE))
        tops, keeps = local((self.rows,)), local((self.rows,))
        ages = local((BLOCK,), "int32")

        # Step 1: the queries, scaled for a softmax of powers of two; nothing is seen yet.
        with loop(self.rows) as row:
            place = (T.bind(self.sequence + self.token(row)), T.bind(self.column(row)))
            factor = spec.scale * LOG2_E

            def keep(i: Any, lanes: int, value: Any) -> None:
                store(query, (row,), i, lanes, value * f32(factor, lanes))

            rotated(spec, (self.args.q, self.args.angles), place, WIDE, keep)
            vectors(spec.head_dim, WIDE, partial(_clear, result, row))
            _clear(totals, row, 0, WIDE)
            T.buffer_store(tops, T.float32(UNSEEN), [row])

        # Step 2: block by block, up to the last key that the tile's last token sees.
        begin = T.bind(ring.first_place(self.args.position, self.sequence))
        end = T.bind(begin + self.tokens)
        outer = (*self.args.where(self.sequence), self.head)
        seen = T.Select(
            end <= spec.context, T.min(begin + self.first + self.count, end), T.int64(spec.context)
        )
        with T.serial(T.floordiv(seen + BLOCK - 1, BLOCK)) as block:
            self._ages(ages, block, end)
            self._scores(scores, query, ages, (*outer, block))
            with loop(self.rows) as row:
                weigh(scores, (tops, keeps, totals), row, WIDE)
            self._means(result, scores, keeps, (*outer, block))

        # Step 3: the rows divided by their sums of weights; what has seen nothing is zero.
        with loop(self.rows) as row:
            inside = self.first + T.floordiv(row, self.group) < self.tokens
            with T.If(T.bool(True) if self.count == 1 else inside), T.Then():
                total = across(load(totals, (row,), 0, WIDE), WIDE, lambda a, b: a + b)
                inverse = T.Select(
                    tops[row] > T.float32(UNSEEN), T.float32(1) / total, T.float32(0)
                )
                factor = T.bind(inverse)
                place = (T.bind(self.sequence + self.token(row)), T.bind(self.column(row)))
                gates = gate_column(spec, T.floordiv(place[1], spec.head_dim))

                def write(i: Any, lanes: int) -> None:
                    value = load(result, (row,), i, lanes) * splat(factor, lanes)
                    if spec.gated:
                        gate = load(self.args.gates, place[:1], gates + i, lanes)
                        value = value * sigmoid(gate, lanes)
                    store(self.args.out, place[:1], place[1] + i, lanes, value)

                vectors(spec.head_dim, WIDE, write)

    def _ages(self, ages: Any, block: Any, end: Any) -> None:
        """Emit how many tokens came after the token of each slot of a block; -1: it is empty."""
        context = self.spec.context
        last = T.bind(T.cast(T.floormod(end - 1, context), "int32"))
        known = T.bind(T.cast(T.min(end, T.int64(context)), "int32"))
        first = T.bind(last - T.cast(block * BLOCK, "int32"))
        for start in range(0, BLOCK, WIDE):
            age = T.bind(splat(first, WIDE) - T.ramp(T.int32(start), T.int32(1), WIDE))
            around = age + splat(T.int32(context), WIDE)
            age = T.bind(T.Select(age < splat(T.int32(0), WIDE), around, age))
            empty = age >= splat(known, WIDE)
            store(ages, (), start, WIDE, T.Select(empty, splat(T.int32(-1), WIDE), age))

    def _scores(self, scores: Any, query: Any, ages: Any, block: tuple[Any, ...]) -> None:
        """Emit the scores of a block: the lanes are keys."""
        args, height = self.args, self._height()
        count = next(n for n in (4, 2, 1) if n * height <= self.sums or n == 1)
        with loop(self.rows // height) as tile, loop(BLOCK // (count * WIDE)) as part:
            first = part * (count * WIDE)
            sums = _Sums(height, count)
            with T.serial(self.spec.head_dim) as i:
                row_of_keys = (*block, i)
                keys = [self._load(args.keys, row_of_keys, first + n * WIDE) for n in range(count)]
                sums.add([query[tile * height + r, i] for r in range(height)], keys)
            for r in range(height):
                row = tile * height + r
                since = T.cast(self.tokens - 1 - self.token(row), "int32")
                younger = splat(T.bind(since), WIDE)
                for n in range(count):
                    at = first + n * WIDE
                    hidden = load(ages, (), at, WIDE) < younger
                    unseen = f32(UNSEEN, WIDE)
                    store(scores, (row,), at, WIDE, T.Select(hidden, unseen, sums[r, n]))

    def _means(self, result: Any, weights: Any, keeps: Any, block: tuple[Any, ...]) -> None:
        """Emit what a block adds to the result: the lanes are columns."""
        height, dim = self._height(), self.spec.head_dim
        fitting = max(self.sums // height, 1)
        count = max(n for n in range(1, fitting + 1) if dim // WIDE % n == 0)

        def columns(tile: Any, first: Any, count: int, lanes: int) -> None:
            sums = _Sums(height, count, lanes)
            with T.serial(BLOCK) as j:
                place = (*block, j)
                values = [
                    self._load(self.args.values, place, first + n * lanes, lanes)
                    for n in range(count)
                ]
                sums.add([weights[tile * height + r, j] for r in range(height)], values)
            for r, n in product(range(height), range(count)):
                row, at = tile * height + r, first + n * lanes
                kept = load(result, (row,), at, lanes) * splat(keeps[row], lanes)
                store(result, (row,), at, lanes, kept + sums[r, n])

        with loop(self.rows // height) as tile:
            whole = dim // WIDE
            if whole:
                with loop(whole // count) as part:
                    columns(tile, part * (count * WIDE), count, WIDE)
            if dim % WIDE:
                with loop(dim % WIDE) as rest:
                    columns(tile, whole * WIDE + rest, 1, 1)

    def _height(self) -> int:
        """Return how many rows share what is loaded."""
        return max(n for n in range(1, min(4, self.sums) + 1) if self.rows % n == 0)

    def _load(self, held: Any, outer: tuple[Any, ...], start: Any, lanes: int = WIDE) -> Any:
        return T.bind(ring.read(self.spec, load(held, outer, start, lanes), lanes))


class _Sums:
    """Sums of products of scalars, one a row, with vectors."""

    def __init__(self, rows: int, count: int, lanes: int = WIDE):
        self.lanes = lanes
        self._held = {key: local((lanes,)) for key in product(range(rows), range(count))}
        for held in self._held.values():
            store(held, (), 0, lanes, f32(0.0, lanes))

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return load(self._held[key], (), 0, self.lanes)

    def add(self, scalars: list[Any], found: list[Any]) -> None:
        """Add each scalar times each vector."""
        repeated = [T.bind(splat(scalar, self.lanes)) for scalar in scalars]
        for (r, n), held in self._held.items():
            store(held, (), 0, self.lanes, self[r, n] + repeated[r] * found[n])


def _clear(buffer: Any, row: Any, start: Any, lanes: int) -> None:
    store(buffer, (row,), start, lanes, f32(0.0, lanes))
