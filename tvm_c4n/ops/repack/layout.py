"""Sizes of a repacked weight, and where in a k-block each of its vectors starts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

# Even a small matrix is cut into this many bundles, with fewer panels each: cores can share it.
MIN_BUNDLES = 8


class Part(IntEnum):
    """What a vector of a k-block holds, in the order in which they lie there."""

    POSITIONS = 0
    VALUES = 1
    SCALES = 2


@dataclass(frozen=True)
class KBlock:
    """Sizes of one panel's share of a k-block.

    Attributes
    ----------
    kc : int
        Columns.
    slices : int
        Runs of columns whose positions and values lie together.
    position_bytes, value_bytes : int
        Bytes in a slice.
    scale_bytes : int
        Bytes in the k-block.
    """

    kc: int
    value_bytes: int
    position_bytes: int = 0
    scale_bytes: int = 0
    slices: int = 1


@dataclass(frozen=True)
class PanelLayout:
    """Sizes of a repacked weight.

    Attributes
    ----------
    mr : int
        Rows of a panel.
    panels : int
        Panels of a bundle.
    bundles, k_blocks : int
        Shape of the array.
    k_block : KBlock
    """

    mr: int
    panels: int
    bundles: int
    k_blocks: int
    k_block: KBlock

    @classmethod
    def of(cls, rows: int, cols: int, mr: int, k_block: KBlock) -> PanelLayout:
        """Cut a weight into bundles and k-blocks."""
        count = -(-rows // mr)
        panels = next(p for p in (4, 2, 1) if count >= MIN_BUNDLES * p or p == 1)
        return cls(mr, panels, -(-count // panels), -(-cols // k_block.kc), k_block)

    @property
    def kc(self) -> int:
        """Columns of a k-block."""
        return self.k_block.kc

    @property
    def padded_cols(self) -> int:
        """Columns that the k-blocks cover."""
        return self.k_blocks * self.kc

    @property
    def bundle_rows(self) -> int:
        """Rows of a bundle."""
        return self.panels * self.mr

    @property
    def slice_bytes(self) -> int:
        """Bytes of a slice: positions and values of all panels."""
        return self.panels * (self.k_block.position_bytes + self.k_block.value_bytes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the repacked array."""
        slices, scales = self.k_block.slices, self.k_block.scale_bytes
        return self.bundles, self.k_blocks, slices * self.slice_bytes + self.panels * scales

    def offset(self, part: Part, index: Any, panel: Any, lane_bytes: int) -> Any:
        """Return the byte of a k-block at which a vector of a panel starts.

        Parameters
        ----------
        part : Part
        index : int or PrimExpr
            Number of the vector among those of the part and panel in the k-block.
        panel : int or PrimExpr
            Its number in the bundle.
        lane_bytes : int
            Bytes that the vector has for each row.
        """
        vector = self.mr * lane_bytes
        if part == Part.SCALES:
            return self.k_block.slices * self.slice_bytes + (index * self.panels + panel) * vector
        size = self.k_block.value_bytes if part == Part.VALUES else self.k_block.position_bytes
        first = self.panels * self.k_block.position_bytes if part == Part.VALUES else 0
        count = size // vector
        start = index // count * self.slice_bytes + first
        return start + (index % count * self.panels + panel) * vector
