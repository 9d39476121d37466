"""The inner code of C4n linear kernels whose bytes have weights of two panels."""

from __future__ import annotations

from schedules.accumulator import WholeByteDots
from schedules.integer_body import IntegerBody
from schedules.intrin.base import Intrinsics
from schedules.micro_tile import MicroTile, Output
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, IntSlice
from tvm_c4n.ops.repack.paired_panel import PairedSlice, PairedStream
from tvm_c4n.ops.tir import ramp, splat


class PairedBody(IntegerBody):
    """Multiplies a pair of panels by bytes as they are, and by their low halves.

    The sums of the high halves are the difference, see `WholeByteDots`: for two chunks one
    instruction takes halves out of bytes, where each chunk of `IntegerBody` has one.
    """

    def __init__(
        self,
        intrin: Intrinsics,
        args: LinearArgs,
        tile: MicroTile,
        stream: PairedStream,
        out: Output,
    ) -> None:
        super().__init__(intrin, args, tile, stream, out)
        self._dots: WholeByteDots = WholeByteDots(intrin, args, tile, out)

    def _dense(self, piece: IntSlice, window: int) -> None:
        assert isinstance(piece, PairedSlice)  # noqa: S101 - of a PairedStream
        start, count = self._column(piece, window), self._fmt.chunks_per_window
        tokens = [self._tile.token + m for m in range(self._tile.tokens)]
        quads = [self._intrin.quads(self._x, token, start, count) for token in tokens]
        bytes_type, half = self._intrin.bytes_type, splat(T.uint8(0xF), 4 * self._intrin.lanes)
        for k in range(count):
            activations = [quad[k] for quad in quads]
            for r in range(0, self._tile.panels, 2):
                both = piece.both(self._fmt.chunk_of(window, k), r)
                low = T.bind(T.reinterpret(bytes_type, both & half))
                self._dots.add(r, low, activations)
                self._dots.add(r + 1, T.reinterpret(bytes_type, both), activations)
        for m, token in enumerate(tokens):
            self._dots.add_offset(m, self._x[token, ramp(start, GATHER_WINDOW)])
