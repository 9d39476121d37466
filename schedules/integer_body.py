"""The inner code of C4n linear kernels whose weights are integers: dot products of four bytes."""

from __future__ import annotations

from math import gcd
from typing import Any

from schedules.accumulator import IntegerDots
from schedules.intrin.base import GROUP_BYTES, Intrinsics
from schedules.intrin.indices import Indices
from schedules.micro_tile import MicroTile, Output
from schedules.windows import Windows
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, IntPanel, IntSlice, IntStream
from tvm_c4n.ops.tir import loop, splat


class IntegerBody:
    """Emits a dot product per chunk and row, scaled once per scale group or sooner."""

    def __init__(
        self, intrin: Intrinsics, args: LinearArgs, tile: MicroTile, stream: IntStream, out: Output
    ) -> None:
        self._intrin, self._tile, self._stream, self._x = intrin, tile, stream, args.x
        self._fmt, self._slice_cols = stream.format, stream.format.slice_cols
        self._dots = IntegerDots(intrin, args, tile, out)
        # With one weight removed, the places of all kept ones follow from its own. Either an index
        # is made for each of them, which all tokens share; or the windows are shifted for each,
        # which all panels share, and the place itself is the index.
        self._shifts = self._fmt.removed == 1 and tile.tokens <= tile.panels

    def emit(self, windows: Windows | None) -> None:
        """Emit all k-blocks; `windows` are those of the tokens, where they have been read."""
        fmt, layout = self._fmt, self._fmt.layout
        columns = accumulated_columns(self._intrin, fmt)
        with T.serial(layout.k_blocks) as k_block:
            # Step 1: sums that span the slices of a k-block begin at zero.
            if columns > self._slice_cols:
                self._dots.clear()
            if layout.k_block.slices <= self._intrin.unrolled_slices:
                for number in range(layout.k_block.slices):
                    self._slice(self._stream.slice(k_block, number), columns, windows)
            else:
                # A loop, though its extent is known: unrolled, a load's next iteration lay so far
                # ahead that a Zen 5 no longer prefetched it by itself
                # (docs/decisions/repacked-format.md).
                with loop(layout.k_block.slices) as number:
                    self._slice(self._stream.slice(k_block, number), columns, windows)
            if columns > self._slice_cols:
                self._flush(k_block, 0)

    def _slice(self, piece: IntSlice, columns: int, windows: Windows | None) -> None:
        """Emit a slice of which the sums of `columns` columns are scaled together."""
        # Step 2: the positions of the first 64 columns, as words of all their windows.
        if not self._intrin.panels_at_once and self._fmt.words:
            for r in range(self._tile.panels):
                for number in range(self._fmt.codes_per_group):
                    piece.word(number, r)
        # Indices made of each other follow one another: each panel at once has its own.
        indices = [self._intrin.indices() for _ in range(self._intrin.panels_at_once or 1)]
        together = self._together(columns)
        for first in range(0, self._fmt.windows, together):
            self._clear_before(first * GATHER_WINDOW, columns)
            # Step 3: the dot products of some windows.
            if windows is None:
                self._by_chunk(piece, range(first, first + together), indices)
            else:
                self._by_token(piece, first, windows, indices)
            # Step 4: the scales, where a scale group or what the sums can hold ends.
            self._flush_at(piece.k_block, (first + together) * GATHER_WINDOW, columns)

    def _together(self, columns: int) -> int:
        """Return how many windows a panel takes one after the other, if it takes any so."""
        if not self._intrin.panels_at_once or self._fmt.removed == 0 or self._shifts:
            return 1
        # Those of a position word, unless a scale group ends among them.
        share = 4 // self._fmt.codes_per_group
        return next(n for n in (share, 2, 1) if columns % (n * GATHER_WINDOW) == 0)

    def _clear_before(self, column: int, columns: int) -> None:
        """Set the sums to zero where those of a part of a slice begin."""
        if columns <= self._slice_cols and column % columns == 0:
            self._dots.clear()

    def _flush_at(self, k_block: Any, column: int, columns: int) -> None:
        """Scale the sums where those of a part of a slice end."""
        if columns <= self._slice_cols and column % columns == 0:
            self._flush(k_block, (column - 1) // self._fmt.scale_group)

    def _by_chunk(self, piece: IntSlice, windows: range, indices: list[Indices]) -> None:
        """Multiply the columns of some windows, chunk by chunk."""
        if self._fmt.removed == 0:
            for window in windows:
                self._dense(piece, window)
            return
        panels, chunks = range(self._tile.panels), self._chunks(windows)
        at_once = self._intrin.panels_at_once or len(panels)
        order = [
            (r, window, k)
            for first in range(0, len(panels), at_once)
            for window, k in chunks
            for r in panels[first : first + at_once]
        ]
        by_window = {window: self._activations(piece, window) for window in windows}
        places: dict[tuple[int, int], Any] = {}
        for r, window, k in order:
            weight = self._weight(piece, window, k, r)
            if not self._shifts:
                index = self._gather_index(piece, window, k, r, indices)
            elif (r, window) in places:
                index = places[r, window]
            else:
                chain = indices[r % len(indices)]
                index = chain.of_field(piece.word(window // 4, r), window % 4)
                places[r, window] = index
            of_tokens = by_window[window][k if self._shifts else 0]
            self._dots.add(r, weight, [self._intrin.gather(x, index) for x in of_tokens])

    def _chunks(self, windows: range) -> list[tuple[int, int]]:
        """Return the chunks of some windows as (window, number in it), in the order of use."""
        return [(window, k) for window in windows for k in range(self._fmt.chunks_per_window)]

    def _activations(self, piece: IntSlice, window: int) -> list[list[Any]]:
        """Read a window of each token: for all its chunks, or for each of them in turn."""
        start, intrin = self._column(piece, window), self._intrin
        tokens = (self._tile.token + m for m in range(self._tile.tokens))
        read = [intrin.window(self._x, token, start) for token in tokens]
        if not self._shifts:
            return [read]
        return [[intrin.shifted(x, k) for x in read] for k in range(self._fmt.kept)]

    def _dense(self, piece: IntSlice, window: int) -> None:
        """Multiply the columns of one window of weights of which none are removed."""
        start, count = self._column(piece, window), self._fmt.chunks_per_window
        # The four columns of a chunk, the same for all rows.
        quads = [
            self._intrin.quads(self._x, self._tile.token + m, start, count)
            for m in range(self._tile.tokens)
        ]
        for k in range(count):
            for r in range(self._tile.panels):
                weight = self._weight(piece, window, k, r)
                self._dots.add(r, weight, [quad[k] for quad in quads])
            self._dots.added_to_all_panels([quad[k] for quad in quads])

    def _by_token(
        self, piece: IntSlice, window: int, windows: Windows, indices: list[Indices]
    ) -> None:
        """Multiply the columns of one window, panel by panel; in a panel, token by token.

        Only one token's window takes a register at a time, so that sums can have the others.
        """
        start = self._column(piece, window)
        for r in range(self._tile.panels):
            chunks = [
                (
                    self._weight(piece, window, k, r),
                    self._gather_index(piece, window, k, r, indices),
                )
                for k in range(self._fmt.chunks_per_window)
            ]
            for m in range(self._tile.tokens):
                of_token = windows.window(m, start)
                for weight, index in chunks:
                    self._dots.add_token(m, r, weight, self._intrin.gather(of_token, index))
            for weight, _ in chunks:
                self._dots.added_to_all_tokens(r, weight)

    def _column(self, piece: IntSlice, window: int) -> Any:
        """Return the first column of a window."""
        slice_start = piece.k_block * self._fmt.layout.kc + piece.number * self._slice_cols
        return slice_start + window * GATHER_WINDOW

    def _weight(self, piece: IntSlice, window: int, k: int, r: int) -> Any:
        """Read the k-th chunk of a window and panel."""
        chunk = self._fmt.chunk_of(window, k)
        return self._intrin.prepare_w(piece.chunk(chunk, r, self._intrin))

    def _gather_index(
        self, piece: IntSlice, window: int, k: int, r: int, indices: list[Indices]
    ) -> Any:
        """Return byte indices into a window of a panel's k-th kept weights."""
        chain = indices[r % len(indices)]
        return gather_index(self._intrin, self._fmt, piece, window, k, r, chain)

    def _flush(self, k_block: Any, index: int) -> None:
        """Scale the sums of a scale group, or of a part of one, into the output."""
        fmt = self._fmt
        group = k_block * (fmt.layout.kc // fmt.scale_group) + index
        output_scale = self._intrin.output_scale(fmt.dtype)
        self._dots.flush(group, output_scale, lambda r: self._stream.scales(k_block, index, r))


def accumulated_columns(intrin: Intrinsics, fmt: IntPanel) -> int:
    """Return the columns whose sums are scaled together: a scale group, if its sums fit.

    Otherwise as many as divide a slice.
    """
    most = intrin.accumulate_cols(fmt.removed)
    if most is None or fmt.scale_group <= most:
        return fmt.scale_group
    return gcd(fmt.scale_group, fmt.slice_cols, most)


def gather_index(
    intrin: Intrinsics,
    fmt: IntPanel,
    piece: IntSlice,
    window: int,
    k: int,
    r: int,
    indices: Indices,
) -> Any:
    """Return byte indices into a window of a panel's k-th kept weights."""
    if fmt.removed != 1:
        field = window * fmt.kept + k
        return indices.of_field(piece.word(field // 4, r), field % 4)
    # The code is the removed one's place: the weights from there on stood one further.
    codes = intrin.codes(piece.word(window // 4, r), window % 4)
    gone = T.reinterpret(intrin.bytes_type, codes)
    here, after = (
        T.reinterpret(
            intrin.bytes_type, splat(T.uint32(GROUP_BYTES + 0x01010101 * v), intrin.lanes)
        )
        for v in (k, k + 1)
    )
    return T.bind(T.Select(gone > splat(T.int8(k), 4 * intrin.lanes), here, after))
