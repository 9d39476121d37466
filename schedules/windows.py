"""The activations of a micro-tile's tokens as the windows that gathers read, prepared once."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW
from tvm_c4n.ops.tir import ramp


class Windows:
    """All windows of some tokens, each as the vector that `Intrinsics.gather` takes.

    `Intrinsics.window` repeats 16 bytes over a vector's lanes and prepares them for the dot
    product. Here both are done once for all panels.

    Parameters
    ----------
    intrin : Intrinsics
    tokens, cols : int
        Columns are a multiple of a window.
    """

    def __init__(self, intrin: Intrinsics, tokens: int, cols: int) -> None:
        self._intrin, self._tokens, self._count = intrin, tokens, cols // GATHER_WINDOW
        self._lanes = 4 * intrin.lanes
        # A window's tokens lie together: the core's own prefetcher follows one stream.
        size = self._count * tokens * self._lanes
        self._buffer = T.alloc_buffer((size,), "int8", scope="global", layout=None)

    def read(self, x: Any, first: Any) -> None:
        """Read the windows of the tokens from `first` on."""
        with T.serial(self._count) as number:
            for m in range(self._tokens):
                window = self._intrin.window(x, first + m, number * GATHER_WINDOW)
                T.buffer_store(self._buffer, window, [self._at(m, number)])

    def window(self, m: int, start: Any) -> Any:
        """Return the window of the m-th token that starts at a column."""
        return T.bind(self._buffer[self._at(m, start // GATHER_WINDOW)])

    def _at(self, m: int, number: Any) -> Any:
        return ramp((number * self._tokens + m) * self._lanes, self._lanes)
