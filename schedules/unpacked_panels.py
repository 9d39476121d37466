"""Weights of some panels as products take them: unpacked once, for all tokens of a prompt."""

from __future__ import annotations

from typing import Any

from schedules.accumulator import IntegerDots
from schedules.integer_body import accumulated_columns, gather_index
from schedules.intrin.base import Intrinsics, ZeroPoint
from schedules.intrin.indices import Indices
from schedules.micro_tile import Vectors
from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, IntSlice, IntStream
from tvm_c4n.ops.tir import loop, ramp


class UnpackedPanels:
    """The vectors of each chunk of some panels: its int8 weights, and with removed ones its index.

    Chunks lie window by window, there panel by panel. What `add_zero_point` makes of the weights of
    each run of columns lies in another array.

    Parameters
    ----------
    intrin : Intrinsics
        Of these weights, see `Intrinsics.for_weights`.
    stream : IntStream
    panels : int

    Attributes
    ----------
    columns : int
        Of a run: their sums are scaled together.
    """

    def __init__(self, intrin: Intrinsics, stream: IntStream, panels: int) -> None:
        self._intrin, self._stream, self._panels = intrin, stream, panels
        self._fmt = fmt = stream.format
        self._lanes = 4 * intrin.lanes
        self._vectors = intrin.weight_vectors + (fmt.removed > 0)
        self.columns = accumulated_columns(intrin, fmt)
        count = fmt.layout.padded_cols // GATHER_WINDOW * fmt.chunks_per_window * panels
        self._buffer = self._alloc(count * self._vectors)
        self._corrects = intrin.zero_point_side is ZeroPoint.OF_WEIGHTS
        if self._corrects:
            self._corrections = self._alloc(fmt.layout.padded_cols // self.columns * panels)

    def _alloc(self, vectors: int) -> Any:
        size = vectors * self._lanes
        return T.alloc_buffer((size,), "int8", scope="global", layout=None)

    @property
    def dtype(self) -> str:
        """The weights' type."""
        return self._fmt.dtype

    def fill(self) -> None:
        """Unpack all columns."""
        fmt, columns = self._fmt, self.columns
        slices, sums = fmt.layout.k_block.slices, self._sums()
        # A run of columns whose sums are taken out together is a k-block, or a part of a slice.
        whole = columns > fmt.slice_cols
        with T.serial(fmt.layout.k_blocks) as k_block:
            if whole:
                sums.clear()
            with loop(slices) as number:
                piece, place = self._stream.slice(k_block, number), k_block * slices + number
                indices = self._intrin.indices()
                for window in range(fmt.windows):
                    run, column = divmod(window * GATHER_WINDOW, columns)
                    if not whole and column == 0:
                        sums.clear()
                    for r in range(self._panels):
                        self._fill(piece, place, (window, r), indices, sums)
                    if not whole and column + GATHER_WINDOW == columns:
                        self._store(sums, place * (fmt.slice_cols // columns) + run)
            if whole:
                self._store(sums, k_block)

    def _sums(self) -> Vectors:
        """Return what corrections are added up in."""
        count = self._panels if self._corrects else 0
        return Vectors(count, self._intrin.lanes, self._intrin.zero_point_dtype)

    def _store(self, sums: Vectors, run: Any) -> None:
        """Store the corrections of a run of columns."""
        for r in range(self._panels if self._corrects else 0):
            T.buffer_store(self._corrections, sums[r], [self._place(run, r)])

    def _place(self, run: Any, r: int) -> Any:
        return ramp((run * self._panels + r) * self._lanes, self._lanes)

    def _fill(
        self, piece: IntSlice, place: Any, at: tuple[int, int], indices: Indices, sums: Vectors
    ) -> None:
        """Unpack the chunks of a window and panel; `place` is the slice's number among all."""
        (window, r), fmt = at, self._fmt
        for k in range(fmt.chunks_per_window):
            chunk = piece.chunk(fmt.chunk_of(window, k), r, self._intrin)
            weight = self._intrin.prepare_w(chunk)
            vectors = list(weight) if isinstance(weight, tuple) else [weight]
            if self._corrects:
                sums[r] = self._intrin.add_zero_point(sums[r], weight)
            if fmt.removed:
                vectors.append(gather_index(self._intrin, fmt, piece, window, k, r, indices))
            for part, vector in enumerate(vectors):
                number = place * fmt.windows + window
                T.buffer_store(self._buffer, vector, [self._at(number, r, k, part)])

    def weight(self, number: Any, r: int, k: int) -> Any:
        """Return the k-th chunk of a window, for `Intrinsics.dot`."""
        count = self._intrin.weight_vectors
        found = [T.bind(self._buffer[self._at(number, r, k, part)]) for part in range(count)]
        return found[0] if count == 1 else tuple(found)

    def index(self, number: Any, r: int, k: int) -> Any:
        """Return the byte indices of the k-th chunk of a window."""
        return T.bind(self._buffer[self._at(number, r, k, self._vectors - 1)])

    def correction(self, run: Any, r: int) -> Any:
        """Return what `add_zero_point` made of a run of `columns` columns of a panel."""
        return self._corrections[self._place(run, r)] if self._corrects else None

    def _at(self, number: Any, r: int, k: int, part: int) -> Any:
        chunk = (number * self._panels + r) * self._fmt.chunks_per_window + k
        return ramp((chunk * self._vectors + part) * self._lanes, self._lanes)


class UnpackedDots(IntegerDots):
    """Integer products of `UnpackedPanels`, which have the zero-point correction of their weights.

    Of weights alone: another correction would have to be added up for each micro-tile.
    """

    def clear(self) -> None:
        """Set the sums to zero."""
        self._sums.clear()

    def flush_run(self, unpacked: UnpackedPanels, run: Any, group: Any, row_scales: Any) -> None:
        """Scale the sums of a run of columns into the output; see `flush`."""
        self._correction = [unpacked.correction(run, r) for r in range(self._tile.panels)]
        self.flush(group, self._intrin.output_scale(unpacked.dtype), row_scales)

    def _total(self, m: int, r: int) -> Any:
        return self._intrin.total(self._sums[self._tile.at(m, r)], self._correction[r])
