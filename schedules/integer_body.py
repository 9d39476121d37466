"""The inner code of C4n linear kernels whose weights are integers: dot products of four bytes."""

from __future__ import annotations

from typing import Any

from schedules.accumulator import IntegerDots
from schedules.intrin.base import GROUP_BYTES, Intrinsics
from schedules.micro_tile import MicroTile, Output
from schedules.windows import Windows
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, INT_KC, WINDOWS, IntSlice, IntStream
from tvm_c4n.ops.tir import loop, splat

# Of a slice's positions, as words: one list for each panel.
Words = list[list[Any]]


class IntegerBody:
    """Emits a dot product per chunk and row, scaled once per scale group or sooner."""

    def __init__(
        self, intrin: Intrinsics, args: LinearArgs, tile: MicroTile, stream: IntStream, out: Output
    ) -> None:
        self._intrin, self._tile, self._stream, self._x = intrin, tile, stream, args.x
        self._fmt = stream.format
        self._dots = IntegerDots(intrin, args, tile, out)

    def emit(self, windows: Windows | None) -> None:
        """Emit all k-blocks; `windows` are those of the tokens, where they have been read."""
        fmt, layout, dots = self._fmt, self._fmt.layout, self._dots
        # Columns whose sums fit the type of the sums, at most a scale group.
        columns = min(fmt.scale_group, self._intrin.accumulate_cols or fmt.scale_group)
        with T.serial(layout.k_blocks) as k_block:
            # Step 1: sums that span the slices of a k-block begin at zero.
            if columns > INT_KC:
                dots.clear()
            # A loop, though its extent is known: unrolled, a load's next iteration lay so far ahead
            # that a Zen 5 no longer prefetched it by itself (docs/decisions/repacked-format.md).
            with loop(layout.k_block.slices) as number:
                piece = self._stream.slice(k_block, number)
                # Step 2: the positions of a slice, as words of all its windows.
                words = [piece.positions(r) for r in range(self._tile.panels)]
                for at in range(WINDOWS):
                    column = at * GATHER_WINDOW
                    if columns <= INT_KC and column % columns == 0:
                        dots.clear()
                    # Step 3: the dot products of a window.
                    if windows is None:
                        self._by_chunk(piece, at, words)
                    else:
                        self._by_token(piece, at, words, windows)
                    # Step 4: the scales, where a scale group or what the sums can hold ends.
                    if columns <= INT_KC and (column + GATHER_WINDOW) % columns == 0:
                        self._flush(k_block, column // fmt.scale_group)
            if columns > INT_KC:
                self._flush(k_block, 0)

    def _by_chunk(self, piece: IntSlice, window: int, words: Words) -> None:
        """Multiply the columns of one window, chunk by chunk; in a chunk, panel by panel."""
        fmt, tile, intrin = self._fmt, self._tile, self._intrin
        tokens = [tile.token + m for m in range(tile.tokens)]
        start, count = self._column(piece, window), fmt.chunks_per_window
        if fmt.removed:
            windows = [intrin.window(self._x, token, start) for token in tokens]
        else:
            # The four columns of a dense chunk, the same for all rows.
            quads = [
                [intrin.quad(self._x, token, start + 4 * k) for k in range(count)]
                for token in tokens
            ]
        for k in range(count):
            for r in range(tile.panels):
                weight = self._weight(piece, window, k, r)
                if fmt.removed:
                    index = self._gather_index(words[r], window, k)
                    gathered = [intrin.gather(each, index) for each in windows]
                    self._dots.add(r, weight, gathered)
                else:
                    self._dots.add(r, weight, [quad[k] for quad in quads])
            if fmt.removed == 0:
                self._dots.added_to_all_panels([quad[k] for quad in quads])

    def _by_token(self, piece: IntSlice, window: int, words: Words, windows: Windows) -> None:
        """Multiply the columns of one window, panel by panel; in a panel, token by token.

        Only one token's window takes a register at a time, so that sums can have the others.
        """
        start = self._column(piece, window)
        for r in range(self._tile.panels):
            chunks = [
                (self._weight(piece, window, k, r), self._gather_index(words[r], window, k))
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
        slice_start = piece.k_block * self._fmt.layout.kc + piece.number * INT_KC
        return slice_start + window * GATHER_WINDOW

    def _weight(self, piece: IntSlice, window: int, k: int, r: int) -> Any:
        """Read the k-th chunk of a window and panel."""
        chunk = window * self._fmt.chunks_per_window + k
        return self._intrin.prepare_w(piece.chunk(chunk, r, self._intrin.unpack_nibbles))

    def _gather_index(self, words: list[Any], window: int, k: int) -> Any:
        """Return byte indices into a window of the k-th kept weights, given the rows' words."""
        intrin, removed = self._intrin, self._fmt.removed
        if removed != 1:
            field = window * self._fmt.kept + k
            return T.bind(intrin.gather_index(words[field // 4], field % 4))
        # The code is the removed one's place: the weights from there on stood one further.
        gone = T.reinterpret(intrin.bytes_type, intrin.codes(words[0], window))
        here, after = (
            T.reinterpret(
                intrin.bytes_type, splat(T.uint32(GROUP_BYTES + 0x01010101 * v), intrin.lanes)
            )
            for v in (k, k + 1)
        )
        return T.bind(T.Select(gone > splat(T.int8(k), 4 * intrin.lanes), here, after))

    def _flush(self, k_block: Any, index: int) -> None:
        """Scale the sums of a scale group, or of a part of one, into the output."""
        fmt = self._fmt
        group = k_block * (fmt.layout.kc // fmt.scale_group) + index
        output_scale = self._intrin.output_scale if fmt.dtype == "int4" else 1.0
        self._dots.flush(group, output_scale, lambda r: self._stream.scales(k_block, index, r))
