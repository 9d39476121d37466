"""What every form of a weight can do: say its arrays, and read one element in TIR.

The plain definitions of operators read with it, from the stored form (`tvm_c4n.ops.stored`) or a
repacked one (`tvm_c4n.ops.repack`): clear, and slow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import declare_or_bind
from tvm_c4n.sparsity import CODES, INT_BITS
from tvm_c4n.sparsity.bits import CODES_PER_GROUP, POSITION_BITS

Shape = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class WeightFormat(ABC):
    """A weight's form.

    Attributes
    ----------
    rows, cols : int
        Shape of the dense weight.
    removed : int
        Weights removed of each group of 4 columns.
    dtype : str
        Of a stored weight, see `tvm_c4n.sparsity.C4nWeight`.
    scale_group : int
        Dense columns that share a scale (integer dtypes), else 0.
    """

    rows: int
    cols: int
    removed: int
    dtype: str
    scale_group: int

    @property
    def kept(self) -> int:
        """Weights kept of each group."""
        return 4 - self.removed

    @property
    def quantized(self) -> bool:
        """Whether the weights are integers with scales."""
        return self.dtype in INT_BITS

    @property
    def codes_per_group(self) -> int:
        """2-bit codes stored for each group of 4 columns."""
        return CODES_PER_GROUP[self.removed]

    @abstractmethod
    def shapes(self) -> list[Shape]:
        """Return shape and dtype of the arrays, in the order of an operator's arguments."""

    def declare(self) -> list[Any]:
        """Declare the arrays as arguments of a PrimFunc that is being built."""
        return [declare_or_bind(f"weight{i}", *shape) for i, shape in enumerate(self.shapes())]

    @abstractmethod
    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        """Read the k-th kept weight of a group; for removed = 0, k is the column inside the group.

        Returns
        -------
        PrimExpr
            In the weight's dtype; int32 for integer dtypes.
        """

    def code(self, weights: Sequence[Any], row: Any, group: Any, index: int) -> Any:
        """Read the 2-bit code number `index` of a group, as int32: only of sparse weights."""
        raise AssertionError(f"{type(self).__name__} has no positions")

    def scale(self, weights: Sequence[Any], row: Any, s: Any) -> Any:
        """Read the float16 scale of a row and scale group: only of integer weights."""
        raise AssertionError(f"{type(self).__name__} has no scales")

    def column(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        """Return the dense column of the k-th kept weight of a group."""
        if self.removed == 0:
            return group * 4 + k
        if self.removed == 1:
            gone = self.code(weights, row, group, 0)
            return group * 4 + k + T.if_then_else(gone <= k, 1, 0)
        return group * 4 + self.code(weights, row, group, k)


def code_in(byte: Any, field: Any) -> Any:
    """Return the 2-bit code number `field` of a byte, as int32."""
    # Unsigned: TVM 0.27 bounds a signed shift wrongly and would simplify comparisons away.
    shifted = T.cast(byte, "uint32") >> T.cast(POSITION_BITS * field, "uint32")
    return T.cast(shifted & T.uint32(3), "int32")


def nibble_in(byte: Any, high: Any) -> Any:
    """Return the low or high four bits of a byte, their sign extended, as int32."""
    shifted = T.cast(byte, "int32") << T.if_then_else(high == 0, T.int32(28), T.int32(24))
    return shifted >> 28


def code_of_field(bits_found: Any, bits: int) -> Any:
    """Return the code that a field of `bits`, given as int32, stands for (`field_of_codes`)."""
    sign, codes = T.int32(1 << (bits - 1)), CODES[bits]
    multiple = (bits_found ^ sign) - sign
    return multiple * T.int32(codes.step) + T.int32(codes.offset)
