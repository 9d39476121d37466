"""The stored form of a weight: the arrays of a C4n folder (docs/reference/format-c4n.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.weight_format import Shape, WeightFormat, code_in, code_of_field
from tvm_c4n.sparsity import FIELD_BITS, STORED_DTYPES, C4nWeight, DType, part_shapes


@dataclass(frozen=True)
class StoredFormat(WeightFormat):
    """Values, then positions (removed > 0), then scales (integer dtypes)."""

    def shapes(self) -> list[Shape]:
        shapes = part_shapes(self.rows, self.cols, self.removed, self.dtype, self.scale_group)
        dtypes = (np.dtype(STORED_DTYPES[self.dtype]).name, "uint8", "float16")
        return [(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True) if shape]

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        index = group * self.kept + k
        if self.dtype in FIELD_BITS:
            return self._code(weights[0], row, index, FIELD_BITS[self.dtype])
        value = weights[0][row, index]
        return T.cast(value, "int32") if self.dtype == "int8" else value

    def _code(self, values: Any, row: Any, index: Any, bits: int) -> Any:
        """Read the code of a field of some bits, which may cross into the next byte."""
        last = int(values.shape[1]) - 1
        first = index * bits // 8
        both = T.cast(values[row, first], "int32")
        if 8 % bits:
            both = both | (T.cast(values[row, T.min(first + 1, last)], "int32") << 8)
        return code_of_field((both >> (index * bits % 8)) & T.int32((1 << bits) - 1), bits)

    def code(self, weights: Sequence[Any], row: Any, group: Any, index: int) -> Any:
        field = group * self.codes_per_group + index
        return code_in(weights[1][row, field // 4], field % 4)

    def scale(self, weights: Sequence[Any], row: Any, s: Any) -> Any:
        return weights[-1][row, s]

    def weight(self, arrays: Sequence[NDArray[Any]]) -> C4nWeight:
        """Return the weight of these arrays."""
        return C4nWeight(
            rows=self.rows,
            cols=self.cols,
            removed=self.removed,
            dtype=cast(DType, self.dtype),
            scale_group=self.scale_group,
            values=np.asarray(arrays[0]),
            positions=arrays[1] if self.removed else None,
            scales=arrays[-1] if self.quantized else None,
        )


def stored_arrays(weight: C4nWeight) -> list[NDArray[np.generic]]:
    """Return the weight's arrays in the order of `StoredFormat.shapes`."""
    return [a for a in (weight.values, weight.positions, weight.scales) if a is not None]
