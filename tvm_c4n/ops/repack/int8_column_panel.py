"""Dense int8 weights that multiply float32 activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.float_panel import FLOAT_KC
from tvm_c4n.ops.repack.layout import KBlock, Part
from tvm_c4n.ops.repack.panel import PanelFormat, by_panels, dense_values
from tvm_c4n.ops.repack.stream import PanelStream, Prefetching
from tvm_c4n.ops.spec import is_weight_only
from tvm_c4n.ops.tir import to_float
from tvm_c4n.sparsity import C4nWeight


@dataclass(frozen=True)
class Int8ColumnPanel(PanelFormat):
    """int8, nothing removed, few columns (docs/decisions/weight-only-dt-proj.md).

    A k-block is a scale group, or all columns if they are fewer: values ``[KC, MR]`` and scales
    ``float16 [MR]``. Its columns are a multiple of `FLOAT_KC`.
    """

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return is_weight_only(cols, removed, dtype)

    @property
    def k_block(self) -> KBlock:
        kc = min(self.scale_group, -(-self.cols // FLOAT_KC) * FLOAT_KC)
        return KBlock(kc, kc * self.mr, scale_bytes=2 * self.mr)

    def parts(self, weight: C4nWeight) -> list[NDArray[np.uint8]]:
        layout = self.layout
        values = dense_values(weight, layout.padded_cols).astype(np.int8)
        values = values.reshape(self.rows, layout.k_blocks, layout.kc, 1)
        scales = np.asarray(weight.scales)[:, :, None, None]
        return [by_panels(values, layout), by_panels(scales, layout)]

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        column, kc = group * 4 + k, self.layout.kc
        found = self.row(weights, row).element(column // kc, Part.VALUES, column % kc, "int8")
        return T.cast(found, "int32")

    def scale(self, weights: Sequence[Any], row: Any, s: Any) -> Any:
        return self.row(weights, row).element(s, Part.SCALES, 0, "float16")

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> Int8ColumnStream:
        return Int8ColumnStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class Int8ColumnStream(PanelStream):
    """Columns of dense int8 weights, and their scales."""

    format: Int8ColumnPanel

    def weight(self, k_block: Any, index: Any, r: int) -> Any:
        """Read column `index` of a k-block as float32, unscaled."""
        found = self.vector(k_block, Part.VALUES, index, r, "int8")
        return T.bind(to_float(found, self.format.mr))

    def scales(self, k_block: Any, r: int) -> Any:
        """Read the scales of a k-block as float32."""
        found = self.vector(k_block, Part.SCALES, 0, r, "float16")
        return T.bind(to_float(found, self.format.mr))
