"""Dense int4 weights for registers of 128 bits: a byte has those of two panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.int_panel import IntPanel, IntSlice, IntStream, Unpacker
from tvm_c4n.ops.repack.layout import MIN_BUNDLES, Part
from tvm_c4n.ops.repack.panel import by_panels, dense_values
from tvm_c4n.ops.repack.stream import Prefetching
from tvm_c4n.ops.weight_format import nibble_in
from tvm_c4n.sparsity import C4nWeight

# What is added to the weight in the low half of a byte, which has no sign there.
OFFSET = 8


@dataclass(frozen=True)
class PairedPanel(IntPanel):
    """int4, nothing removed, an even number of panels of four rows.

    A byte of a chunk has the weight of an even panel's row plus `OFFSET` in its low half and that
    of the next panel's row in its high half: both multiply the same activation, so that a kernel
    may take the whole byte for 16 times the second one, and correct that by what the first one adds
    (docs/decisions/arm-inner-loops.md). The vectors of a chunk, one for each pair of panels, follow
    each other.
    """

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return mr == 4 and dtype == "int4" and removed == 0 and rows > mr * (2 * MIN_BUNDLES - 1)

    def place_of(self, chunk: Any, panel: Any) -> tuple[Any, Any]:
        """Return where `Part.VALUES` has a panel's chunk: the vector, and whose of a bundle."""
        pairs = self.layout.panels // 2
        return chunk // 2, chunk % 2 * pairs + panel // 2

    def _by_slice(self, weight: C4nWeight, slices: int) -> list[NDArray[np.uint8]]:
        layout = self.layout
        flat = dense_values(weight, slices * self.slice_cols).astype(np.int8)
        chunks = by_panels(flat.reshape(self.rows, slices, self.chunks, 4), layout)
        pairs = chunks.reshape(layout.bundles, slices, self.chunks, -1, 2, 4 * self.mr)
        low, high = pairs[..., 0, :] + np.uint8(OFFSET), pairs[..., 1, :]
        packed = np.asarray(low & 0xF | high << 4, np.uint8)
        return [packed.reshape(layout.bundles, slices, -1)]

    def _value(self, weights: Sequence[Any], row: Any, k_block: Any, chunk: Any, byte: Any) -> Any:
        reader = self.row(weights, row)
        vector, panel = self.place_of(chunk, reader.panel)
        found = replace(reader, panel=panel).byte(k_block, Part.VALUES, vector, byte)
        low = (T.cast(found, "int32") & T.int32(0xF)) - T.int32(OFFSET)
        return T.Select(reader.panel % 2 == 0, low, nibble_in(found, 1))

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> PairedStream:
        return PairedStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class PairedStream(IntStream):
    """Slices of weights of pairs of panels, and their scales."""

    format: PairedPanel

    def slice(self, k_block: Any, number: Any) -> PairedSlice:
        """Return a slice of a k-block, to be read from front to end."""
        return PairedSlice(self, k_block, number)


@dataclass(frozen=True)
class PairedSlice(IntSlice):
    """A slice while a kernel reads it: each byte vector of a pair of panels once."""

    stream: PairedStream

    def both(self, chunk: int, r: int) -> Any:
        """Read the ``uint8`` bytes of which panel `r` has the low halves, or the high ones."""
        stream = self.stream
        vector, panel = stream.format.place_of(chunk, stream.panel + r)
        index = self.number * stream.format.byte_vectors + vector
        if (chunk, r // 2) not in self._read:
            other = panel - stream.panel
            found = stream.vector(self.k_block, Part.VALUES, index, other, "uint8", 4)
            self._read[chunk, r // 2] = T.bind(found)
        return self._read[chunk, r // 2]

    def chunk(self, chunk: int, r: int, unpacker: Unpacker) -> Any:
        """Read a panel's chunk as int8, see `IntSlice.chunk`; in any order."""
        return unpacker.unpack_half(self.both(chunk, r), (self.stream.panel + r) % 2)
