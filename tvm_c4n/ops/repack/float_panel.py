"""Dense float weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.layout import KBlock, Part
from tvm_c4n.ops.repack.panel import PanelFormat, by_panels, dense_values
from tvm_c4n.ops.repack.stream import PanelStream, Prefetching
from tvm_c4n.ops.tir import to_float
from tvm_c4n.sparsity import C4nWeight

FLOATS = ("float32", "float16")
# Columns of a k-block: how far a kernel's loop is unrolled.
FLOAT_KC = 8


@dataclass(frozen=True)
class FloatPanel(PanelFormat):
    """float32 or float16, nothing removed: a k-block is values ``[FLOAT_KC, MR]``."""

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return dtype in FLOATS and removed == 0

    @property
    def k_block(self) -> KBlock:
        return KBlock(FLOAT_KC, FLOAT_KC * self.mr * np.dtype(self.dtype).itemsize)

    def parts(self, weight: C4nWeight) -> list[NDArray[np.uint8]]:
        values = dense_values(weight, self.layout.padded_cols)
        return [by_panels(values.reshape(self.rows, -1, FLOAT_KC, 1), self.layout)]

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        column = group * 4 + k
        return self.row(weights, row).element(
            column // FLOAT_KC, Part.VALUES, column % FLOAT_KC, self.dtype
        )

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> FloatStream:
        return FloatStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class FloatStream(PanelStream):
    """Columns of dense float weights."""

    format: FloatPanel

    def weight(self, k_block: Any, index: Any, r: int) -> Any:
        """Read column `index` of a k-block as float32."""
        found = self.vector(k_block, Part.VALUES, index, r, self.format.dtype)
        return T.bind(to_float(found, self.format.mr))
