"""Reading the elements of one row: for plain definitions, and for OpenCL's work-items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.layout import PanelLayout, Part
from tvm_c4n.ops.tir import ramp

# Bytes of an element.
SIZE = {"float32": 4, "uint32": 4, "float16": 2, "uint16": 2, "int8": 1, "uint8": 1}


@dataclass(frozen=True)
class RowReader:
    """The elements of one row.

    Attributes
    ----------
    layout : PanelLayout
    buffer : Buffer
        The repacked array.
    bundle, panel, lane : int or PrimExpr
        The row: bundle of the weight, panel of the bundle, row of the panel.
    """

    layout: PanelLayout
    buffer: Any
    bundle: Any
    panel: Any
    lane: Any

    @classmethod
    def of_row(cls, layout: PanelLayout, buffer: Any, row: Any) -> RowReader:
        """Return the reader of a row of the weight."""
        panel = row // layout.mr % layout.panels
        return cls(layout, buffer, row // layout.bundle_rows, panel, row % layout.mr)

    def element(self, k_block: Any, part: Part, index: Any, dtype: str) -> Any:
        """Read this row's element of vector number `index` of a part of a k-block."""
        size = SIZE[dtype]
        offset = self.layout.offset(part, index, self.panel, size) + self.lane * size
        return T.reinterpret(dtype, self.buffer[self.bundle, k_block, ramp(offset, size)])

    def byte(self, k_block: Any, part: Part, index: Any, byte: Any) -> Any:
        """Read one of this row's four bytes of a vector."""
        offset = self.layout.offset(part, index, self.panel, 4) + self.lane * 4 + byte
        return self.buffer[self.bundle, k_block, offset]
