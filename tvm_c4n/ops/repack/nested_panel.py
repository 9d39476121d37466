"""int4 weights for registers of 128 bits: positions in the low halves of bytes, beside weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.int_panel import IntPanel, IntSlice, IntStream, Unpacker
from tvm_c4n.ops.repack.layout import Part
from tvm_c4n.ops.repack.panel import by_panels, pad_groups, position_codes
from tvm_c4n.ops.repack.stream import Prefetching
from tvm_c4n.ops.weight_format import code_in, nibble_in
from tvm_c4n.sparsity import C4nWeight

# Chunks whose weights and positions share byte vectors, and these vectors.
UNIT, UNIT_VECTORS = 4, 3
# By chunk of a unit: the byte vector of its weights and whether they are the high halves.
_WEIGHTS = ((0, True), (1, True), (2, False), (2, True))


@dataclass(frozen=True)
class NestedPanel(IntPanel):
    """int4, two or three of four removed, panels of four rows (docs/decisions/arm-inner-loops.md).

    A slice has no positions of their own. Its chunks, numbered so that even windows have even
    numbers, go in units of four, three byte vectors each, from the low bits up::

        vector 0:  code of chunk 0, code of chunk 1, weight of chunk 0
        vector 1:  code of chunk 2, code of chunk 3, weight of chunk 1
        vector 2:  weight of chunk 2, weight of chunk 3
    """

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return mr == 4 and dtype == "int4" and removed in (2, 3)

    @property
    def words(self) -> int:
        return 0

    @property
    def byte_vectors(self) -> int:
        return self.chunks // UNIT * UNIT_VECTORS

    def chunk_of(self, window: Any, k: Any) -> Any:
        """Return the number in its slice of the k-th chunk of a window."""
        return window // 2 * 2 * self.kept + 2 * k + window % 2

    def _by_slice(self, weight: C4nWeight, slices: int) -> list[NDArray[np.uint8]]:
        shape = (self.rows, slices, self.windows // 2, 2, 4, self.kept)
        groups = slices * self.slice_cols // 4

        def units(elements: NDArray[np.generic]) -> NDArray[np.uint8]:
            # (..., pair of windows, window of the pair, byte, k) -> chunks: pair, k, window
            split = elements.astype(np.uint8).reshape(shape).transpose(0, 1, 2, 5, 3, 4)
            return split.reshape(self.rows, slices, -1, UNIT, 4)

        codes = units(position_codes(weight, groups))
        values = units(pad_groups(weight.unpacked_values(), groups).astype(np.int8)) & 0xF
        vectors = [codes[..., c, :] | codes[..., c + 1, :] << 2 for c in (0, 2)]
        vectors.append(np.zeros_like(vectors[0]))
        for chunk, (vector, high) in enumerate(_WEIGHTS):
            vectors[vector] = vectors[vector] | values[..., chunk, :] << (4 if high else 0)
        packed = np.stack(vectors, axis=3).reshape(self.rows, slices, self.byte_vectors, 4)
        return [by_panels(packed, self.layout)]

    # Reading one element.

    def _byte(
        self, weights: Sequence[Any], row: Any, group: Any, k: Any, vector_of: Any
    ) -> tuple[Any, Any]:
        """Return a byte that belongs to the k-th weight of a group, and its chunk in the unit."""
        k_block, piece, inside = self._place(group)
        chunk = self.chunk_of(inside // 4, k)
        vector = piece * self.byte_vectors + chunk // UNIT * UNIT_VECTORS + vector_of(chunk % UNIT)
        byte = self.row(weights, row).byte(k_block, Part.VALUES, vector, inside % 4)
        return byte, chunk % UNIT

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        byte, chunk = self._byte(weights, row, group, k, lambda c: T.min(c, 2))
        return nibble_in(byte, T.if_then_else(chunk == 2, 0, 1))

    def code(self, weights: Sequence[Any], row: Any, group: Any, index: int) -> Any:
        byte, chunk = self._byte(weights, row, group, index, lambda c: c // 2)
        return code_in(byte, chunk % 2)

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> NestedStream:
        return NestedStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class NestedStream(IntStream):
    """Slices of integer weights whose positions lie beside them, and their scales."""

    format: NestedPanel

    def slice(self, k_block: Any, number: Any) -> NestedSlice:
        """Return a slice of a k-block, to be read from front to end."""
        return NestedSlice(self, k_block, number)


@dataclass(frozen=True)
class NestedSlice(IntSlice):
    """A slice while a kernel reads it: each byte vector of a panel once."""

    stream: NestedStream

    def chunk(self, chunk: int, r: int, unpacker: Unpacker) -> Any:
        """Read a panel's chunk as int8, see `IntSlice.chunk`; in any order."""
        vector, high = _WEIGHTS[chunk % UNIT]
        return unpacker.unpack_nibbles(self._vector(chunk // UNIT * UNIT_VECTORS + vector, r), high)

    def codes(self, chunk: int, r: int) -> Any:
        """Read the bytes of which a panel's chunk has the codes number ``chunk % 2``."""
        return self._vector(chunk // UNIT * UNIT_VECTORS + chunk % UNIT // 2, r)
