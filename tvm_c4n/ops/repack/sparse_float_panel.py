"""Float weights with removed columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.float_panel import FLOATS
from tvm_c4n.ops.repack.layout import KBlock, Part
from tvm_c4n.ops.repack.panel import PanelFormat, by_panels, pad_groups, position_codes
from tvm_c4n.ops.repack.stream import PanelStream, Prefetching
from tvm_c4n.ops.tir import to_float
from tvm_c4n.ops.weight_format import code_in
from tvm_c4n.sparsity import C4nWeight
from tvm_c4n.sparsity.bits import POSITION_BITS

# Codes that a 32-bit word holds.
_CODES = 32 // POSITION_BITS


@dataclass(frozen=True)
class SparseFloatPanel(PanelFormat):
    """float32 or float16: a k-block is the groups whose codes fill 32 bits.

    Positions are ``uint32 [MR]``, 2-bit codes from the low end, group by group; values are
    ``[groups, kept, MR]``.
    """

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return dtype in FLOATS and removed > 0

    @property
    def groups(self) -> int:
        """Groups of a k-block."""
        return _CODES // self.codes_per_group

    @property
    def k_block(self) -> KBlock:
        values = self.groups * self.kept * self.mr * np.dtype(self.dtype).itemsize
        return KBlock(4 * self.groups, values, position_bytes=self.mr * 4)

    def parts(self, weight: C4nWeight) -> list[NDArray[np.uint8]]:
        k_blocks, groups = self.layout.k_blocks, self.layout.padded_cols // 4
        fields = position_codes(weight, groups).reshape(self.rows, k_blocks, _CODES)
        shifts = POSITION_BITS * np.arange(_CODES, dtype=np.uint32)
        words = np.bitwise_or.reduce(fields << shifts, axis=2)
        values = pad_groups(weight.unpacked_values(), groups).reshape(self.rows, k_blocks, -1, 1)
        return [by_panels(a, self.layout) for a in (words[:, :, None, None], values)]

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        index = group % self.groups * self.kept + k
        reader = self.row(weights, row)
        return reader.element(group // self.groups, Part.VALUES, index, self.dtype)

    def code(self, weights: Sequence[Any], row: Any, group: Any, index: int) -> Any:
        field = group % self.groups * self.codes_per_group + index
        reader = self.row(weights, row)
        byte = reader.byte(group // self.groups, Part.POSITIONS, 0, field // 4)
        return code_in(byte, field % 4)

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> SparseFloatStream:
        return SparseFloatStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class SparseFloatStream(PanelStream):
    """Position words and kept weights of sparse float weights."""

    format: SparseFloatPanel

    def positions(self, k_block: Any, r: int) -> Any:
        """Read the position words of a k-block: one per row."""
        return T.bind(self.vector(k_block, Part.POSITIONS, 0, r, "uint32"))

    def weight(self, k_block: Any, index: Any, r: int) -> Any:
        """Read kept weight number `index` of a k-block as float32."""
        found = self.vector(k_block, Part.VALUES, index, r, self.format.dtype)
        return T.bind(to_float(found, self.format.mr))
