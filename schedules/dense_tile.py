"""Weights of some panels with the removed ones as zeros, for products of small matrices."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, IntSlice, IntStream
from tvm_c4n.ops.repack.nested_panel import NestedSlice
from tvm_c4n.ops.tir import loop, ramp, splat

# Columns of two rows that one instruction multiplies, and its bytes.
COLS, BYTES = 8, 16
# Rows of a panel, and their pairs.
ROWS, PAIRS = 4, 2


class DenseTile:
    """The weights of some panels of four rows, as int8, in the order in which they are multiplied.

    Eight columns of two rows are a vector. Those of all panels' pairs of rows follow each other.

    Parameters
    ----------
    intrin : Intrinsics
        Of these weights, see `Intrinsics.for_weights`.
    stream : IntStream
    panels : int
    """

    def __init__(self, intrin: Intrinsics, stream: IntStream, panels: int) -> None:
        self._intrin, self._stream, self._panels = intrin, stream, panels
        self._fmt = stream.format
        size = self._fmt.layout.padded_cols * panels * ROWS
        self._buffer = T.alloc_buffer((size,), "int8", scope="global", layout=None)

    def pair(self, column: Any, r: int, number: int) -> Any:
        """Return eight columns, from `column` on, of pair `number` of a panel's rows."""
        return T.bind(self._buffer[self._at(column, r, number)])

    def fill(self) -> None:
        """Unpack all columns."""
        fmt = self._fmt
        slices = fmt.layout.k_block.slices
        with T.serial(fmt.layout.k_blocks) as k_block, loop(slices) as number:
            piece = self._stream.slice(k_block, number)
            first = k_block * fmt.layout.kc + number * fmt.slice_cols
            for window in range(fmt.windows):
                for r in range(self._panels):
                    self._fill(piece, window, r, first + window * GATHER_WINDOW)

    def _fill(self, piece: IntSlice, window: int, r: int, column: Any) -> None:
        """Unpack the sixteen columns of a window of a panel."""
        # Step 1: the chunks as they are stored.
        fmt = self._fmt
        numbers = [fmt.chunk_of(window, k) for k in range(fmt.chunks_per_window)]
        chunks = [T.bind(piece.chunk(number, r, self._intrin)) for number in numbers]
        # Step 2: vectors of four columns of four rows, or of sixteen columns of one; pairs of rows.
        if fmt.removed == 0:
            pairs = [
                zipped(chunks[2 * c], chunks[2 * c + 1], "int32x4", number)
                for c in range(2)
                for number in range(PAIRS)
            ]
        else:
            rows = self._rows([self._place(piece, window, r, chunks, p) for p in range(4)])
            pairs = [
                zipped(rows[2 * number], rows[2 * number + 1], "int64x2", c)
                for c in range(2)
                for number in range(PAIRS)
            ]
        # Step 3: the stores.
        for index, pair in enumerate(pairs):
            at = self._at(column + index // PAIRS * COLS, r, index % PAIRS)
            T.buffer_store(self._buffer, pair, [at])

    def _place(self, piece: IntSlice, window: int, r: int, chunks: list[Any], place: int) -> Any:
        """Return the weights at a place of each group: in each lane four groups of one row."""
        fmt, (zero, here) = self._fmt, (splat(T.int8(v), BYTES) for v in (0, place))
        if fmt.removed == 1:
            gone = self._codes(piece, window, r, 0)
            before, after = chunks[max(place - 1, 0)], chunks[min(place, fmt.kept - 1)]
            kept = T.Select(gone < here, before, after) if place else after
            return T.bind(T.Select(gone == here, zero, kept))
        found = [
            T.Select(self._codes(piece, window, r, k) == here, chunk, zero)
            for k, chunk in enumerate(chunks)
        ]
        return T.bind(found[0] if len(found) == 1 else found[0] | found[1])

    def _codes(self, piece: IntSlice, window: int, r: int, k: int) -> Any:
        """Return the places of the k-th kept weights, or with one removed of that one."""
        if isinstance(piece, NestedSlice):
            chunk = self._fmt.chunk_of(window, k)
            words, field = T.reinterpret("uint32x4", piece.codes(chunk, r)), chunk % 2
        else:
            number = window * self._fmt.codes_per_group + k
            words, field = piece.word(number // 4, r), number % 4
        return T.reinterpret("int8x16", self._intrin.codes(words, field))

    @staticmethod
    def _rows(places: list[Any]) -> list[Any]:
        """Return each row's sixteen columns from its four groups' weights, place by place."""
        found = []
        for half in range(2):
            low, high = (zipped(places[p], places[p + 1], "int8x16", half) for p in (0, 2))
            found += [zipped(low, high, "int16x8", part) for part in range(2)]
        return found

    def _at(self, column: Any, r: int, number: int) -> Any:
        vector = (column // COLS * self._panels + r) * PAIRS + number
        return ramp(vector * BYTES, BYTES)


def zipped(first: Any, second: Any, dtype: str, half: int) -> Any:
    """Return the elements of the lower (0) or upper half of two vectors of bytes in turns."""
    lanes = int(dtype.partition("x")[2])
    both = [T.reinterpret(dtype, each) for each in (first, second)]
    start = half * lanes // 2
    order = [index for k in range(start, start + lanes // 2) for index in (k, lanes + k)]
    return T.bind(T.reinterpret("int8x16", T.Shuffle(both, [T.int32(i) for i in order])))
