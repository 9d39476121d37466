"""The stored form of a weight: the arrays of a C4n folder (docs/reference/format-c4n.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.weight_format import Shape, WeightFormat, code_in, nibble_in
from tvm_c4n.sparsity import C4nWeight, DType


@dataclass(frozen=True)
class StoredFormat(WeightFormat):
    """Values, then positions (removed > 0), then scales (integer dtypes)."""

    def shapes(self) -> list[Shape]:
        groups = self.cols // 4
        width = groups * self.kept if self.removed else self.cols
        values = (-(-width // 2), "uint8") if self.dtype == "int4" else (width, self.dtype)
        shapes: list[Shape] = [((self.rows, values[0]), values[1])]
        if self.removed:
            shapes.append(((self.rows, -(-groups * self.codes_per_group // 4)), "uint8"))
        if self.quantized:
            shapes.append(((self.rows, -(-self.cols // self.scale_group)), "float16"))
        return shapes

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        index = group * self.kept + k
        if self.dtype == "int4":
            return nibble_in(weights[0][row, index // 2], index % 2)
        value = weights[0][row, index]
        return T.cast(value, "int32") if self.dtype == "int8" else value

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
