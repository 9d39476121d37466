"""A C4n weight as it is stored: kept values, positions, scales.

``docs/reference/format-c4n.md`` specifies the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity import bits as bitfields
from tvm_c4n.sparsity.pattern import GROUP, check_cols, kept_of, row_blocks
from tvm_c4n.sparsity.quantize import CODES, check_scale_group, check_scales, spread_scales

DType = Literal["float32", "float16", "int8", "int4", "int3", "int2"]
DTYPES: tuple[str, ...] = get_args(DType)
STORED_DTYPES = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "int4": np.uint8,
    "int3": np.uint8,
    "int2": np.uint8,
}
INT_BITS = {"int8": 8, "int4": 4, "int3": 3, "int2": 2}
# Bits of the dtypes of which several values share a byte.
FIELD_BITS = {dtype: bits for dtype, bits in INT_BITS.items() if bits < 8}


def field_of_codes(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Return codes as they are stored in fields of ``bits``: two's complement of the multiple.

    Odd codes, those of two bits, are ``2 * multiple + 1``.
    """
    return np.asarray((codes // CODES[bits].step).view(np.uint8) & np.uint8((1 << bits) - 1))


def codes_of_field(fields: NDArray[np.uint8], bits: int) -> NDArray[np.int8]:
    """Invert `field_of_codes`."""
    sign, codes = np.int8(1 << (bits - 1)), CODES[bits]
    multiples = (fields.view(np.int8) ^ sign) - sign
    return np.asarray(multiples * np.int8(codes.step) + np.int8(codes.offset))


class PartShapes(NamedTuple):
    """Shapes of the arrays of a stored weight; None where the array does not exist."""

    values: tuple[int, int]
    positions: tuple[int, int] | None
    scales: tuple[int, int] | None


def part_shapes(rows: int, cols: int, removed: int, dtype: str, scale_group: int) -> PartShapes:
    """Return the shapes that the arrays of a stored weight must have.

    Raises
    ------
    RecipeError
        ``removed`` outside 0..3, or groups that do not fill the columns.
    C4nError
        Empty matrix, unknown dtype, a scale group that does not fit the dtype.
    """
    check_cols(cols, removed)
    if rows < 1 or cols < 1:
        raise C4nError(f"a weight of {rows} x {cols} is empty")
    if dtype not in DTYPES:
        raise C4nError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if dtype in INT_BITS:
        check_scale_group(scale_group)
    elif scale_group != 0:
        raise C4nError(f"{dtype} has no scales: scale_group must be 0, not {scale_group}")
    count = cols if removed == 0 else cols // GROUP * kept_of(removed)
    positions = -(-(cols // GROUP) * bitfields.CODE_BITS[removed] // 8)
    return PartShapes(
        (rows, -(-count * FIELD_BITS.get(dtype, 8) // 8)),
        (rows, positions) if removed else None,
        (rows, -(-cols // scale_group)) if scale_group else None,
    )


@dataclass(frozen=True, eq=False)
class C4nWeight:
    """A matrix of which n of every 4 contiguous weights of a row are removed.

    Attributes
    ----------
    rows, cols : int
        Size of the dense matrix.
    removed : int
        n, 0..3. With 0 every column is stored and ``cols`` need not be a multiple of 4.
    dtype : {"float32", "float16", "int8", "int4", "int3", "int2"}
    scale_group : int
        Dense columns per scale; 0 for the float dtypes.
    values : (rows, stored) of ``dtype``
        Kept weights by group, then column; ``stored`` is ``groups * kept``, or ``cols`` for n=0.
        int4, int3, int2: (rows, ceil(stored * bits / 8)) uint8, fields of as many bits, the first
        one low (`field_of_codes`).
    positions : (rows, ceil(groups * bits / 8)) uint8 or None
        Bits per group: n=1: 2 (the column that is gone), n=2: 4 (both kept, ascending, the first
        low), n=3: 2 (the kept one). None for n=0.
    scales : (rows, ceil(cols / scale_group)) float16 or None
        None for the float dtypes.

    Raises
    ------
    C4nError
        When made with arrays of other shapes or dtypes. `check` looks at the content.
    """

    rows: int
    cols: int
    removed: int
    dtype: DType
    scale_group: int
    values: NDArray[Any]
    positions: NDArray[np.uint8] | None = None
    scales: NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        shapes = part_shapes(self.rows, self.cols, self.removed, self.dtype, self.scale_group)
        wanted = (STORED_DTYPES[self.dtype], np.uint8, np.float16)
        for part, shape, dtype in zip(PartShapes._fields, shapes, wanted, strict=True):
            array = getattr(self, part)
            if shape is None and array is None:
                continue
            if shape is None or array is None:
                state = "must be None" if shape is None else "are missing"
                raise C4nError(f"{part} {state} for removed={self.removed}, dtype={self.dtype}")
            if array.shape != shape or array.dtype != dtype:
                raise C4nError(
                    f"{part} are {array.dtype}{list(array.shape)}, "
                    f"expected {np.dtype(dtype)}{list(shape)}"
                )

    @property
    def groups(self) -> int:
        """Groups of 4 columns in a row; the last one of a dense weight may be short."""
        return -(-self.cols // GROUP)

    @property
    def kept(self) -> int:
        """Weights that stay in each group."""
        return kept_of(self.removed)

    @property
    def stored(self) -> int:
        """Values stored per row."""
        return self.cols if self.removed == 0 else self.groups * self.kept

    @property
    def size_bytes(self) -> int:
        """Bytes of values, positions and scales."""
        parts = (self.values, self.positions, self.scales)
        return sum(part.nbytes for part in parts if part is not None)

    def _rows(self, block: slice) -> NDArray[Any]:
        """Read (rows of the block, stored) values as float32, float16 or int8."""
        if self.dtype not in FIELD_BITS:
            return self.values[block]
        bits = FIELD_BITS[self.dtype]
        return codes_of_field(bitfields.unpack_fields(self.values[block], bits, self.stored), bits)

    def unpacked_values(self) -> NDArray[Any]:
        """Kept values (rows, groups, kept): float32, float16, or int8 (codes of few bits, too).

        The short last group of a dense weight is filled with zeros.
        """
        values = bitfields.pad_cols(self._rows(slice(None)), self.kept)
        return values.reshape(self.rows, self.groups, self.kept)

    def unpacked_positions(self) -> NDArray[np.uint8]:
        """Columns inside the group of the kept values: (rows, groups, kept) uint8, ascending."""
        if self.positions is None:
            every = np.arange(GROUP, dtype=np.uint8)
            return np.tile(every, (self.rows, self.groups, 1))
        return bitfields.decode_columns(self.positions, self.removed, self.groups)

    def mask(self) -> NDArray[np.bool_]:
        """Where a weight is kept: (rows, cols) bool. A kept weight may itself be zero."""
        if self.positions is None:
            return np.ones((self.rows, self.cols), dtype=np.bool_)
        return bitfields.decode_mask(self.positions, self.removed, self.groups)

    def dense(self) -> NDArray[np.float32]:
        """Expand to (rows, cols) float32: ``q * scale`` (exact in float32), zeros where removed."""
        result = np.zeros((self.rows, self.cols), dtype=np.float32)
        for block in row_blocks(self.rows, self.cols):
            part = result[block]
            if self.positions is None:
                part[...] = self._rows(block)
            else:
                mask = bitfields.decode_mask(self.positions[block], self.removed, self.groups)
                part[mask] = self._rows(block).reshape(-1)
            if self.scales is not None:
                part *= spread_scales(self.scales[block], self.cols, self.scale_group)
        return result

    def between(self, start: int, stop: int) -> C4nWeight:
        """Return the rows `start` to `stop`, as views."""
        return replace(
            self,
            rows=stop - start,
            values=self.values[start:stop],
            positions=None if self.positions is None else self.positions[start:stop],
            scales=None if self.scales is None else self.scales[start:stop],
        )

    @classmethod
    def stack(cls, weights: Sequence[C4nWeight]) -> C4nWeight:
        """Return one weight of the rows of several, which have the same columns and pattern."""
        joined: dict[str, Any] = {
            part: np.concatenate([getattr(weight, part) for weight in weights])
            for part in PartShapes._fields
            if getattr(weights[0], part) is not None
        }
        return replace(weights[0], rows=sum(weight.rows for weight in weights), **joined)

    def check(self) -> None:
        """Check the content, which shapes do not show; used on weights read from files.

        Raises
        ------
        C4nError
            A value or scale that is not finite, an int8 of -128, positions of a group that do not
            ascend, or padding bits that are not zero.
        """
        for block in row_blocks(self.rows, self.cols):
            self._check_values(self.values[block])
            if self.positions is not None:
                self._check_positions(self.positions[block], block.start)
        if self.scales is not None:
            check_scales(self.scales, self.scales.shape)

    def _check_values(self, values: NDArray[Any]) -> None:
        if self.dtype in FIELD_BITS:
            if not bitfields.tail_is_zero(values, self.stored * FIELD_BITS[self.dtype]):
                raise C4nError("padding bits after the last value of a row are not zero")
        elif self.dtype == "int8":
            if (values == -128).any():
                raise C4nError("a value is -128; int8 codes lie in -127..127")
        elif not np.isfinite(values).all():
            raise C4nError("a value is not finite")

    def _check_positions(self, positions: NDArray[np.uint8], first_row: int) -> None:
        if not bitfields.tail_is_zero(positions, self.groups * bitfields.CODE_BITS[self.removed]):
            raise C4nError("padding bits after the last position of a row are not zero")
        codes = bitfields.decode_codes(positions, self.removed, self.groups)
        bad = bitfields.invalid_codes(codes, self.removed)
        if bad.any():
            row, group = (int(i[0]) for i in np.nonzero(bad))
            raise C4nError(f"positions of row {first_row + row}, group {group} do not ascend")
