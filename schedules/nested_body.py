"""The inner code of C4n linear kernels whose positions lie beside their int4 weights."""

from __future__ import annotations

from typing import Any

from schedules.integer_body import IntegerBody
from schedules.intrin.indices import Indices
from tvm_c4n.ops.repack.int_panel import IntSlice
from tvm_c4n.ops.repack.nested_panel import NestedSlice


class NestedBody(IntegerBody):
    """Emits chunks in the order of their codes: one byte vector has those of two windows."""

    def _chunks(self, windows: range) -> list[tuple[int, int]]:
        return [(window, k) for k in range(self._fmt.kept) for window in windows]

    def _activations(self, piece: IntSlice, window: int) -> list[list[Any]]:
        (found,) = super()._activations(piece, window)
        return [[self._intrin.turned(each) for each in found] if window % 2 else found]

    def _gather_index(
        self, piece: IntSlice, window: int, k: int, r: int, indices: list[Indices]
    ) -> Any:
        assert isinstance(piece, NestedSlice)  # noqa: S101 - of a NestedStream
        chunk = self._fmt.chunk_of(window, k)
        return indices[r % len(indices)].of_nested(piece.codes(chunk, r), chunk % 2)
