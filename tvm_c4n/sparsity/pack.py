"""Packing a dense matrix: choosing mask, scales and codes where they are not given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity import bits as bitfields
from tvm_c4n.sparsity.pattern import (
    check_mask,
    count_per_group,
    describe,
    kept_of,
    mask_from_scores,
)
from tvm_c4n.sparsity.quantize import (
    FLOAT16_MAX,
    SCALE_GROUP,
    as_float32,
    check_scales,
    group_scales,
    quantize,
)
from tvm_c4n.sparsity.weight import (
    FIELD_BITS,
    INT_BITS,
    STORED_DTYPES,
    C4nWeight,
    DType,
    field_of_codes,
    part_shapes,
)


def from_dense(
    weight: NDArray[Any],
    removed: int,
    dtype: DType,
    *,
    mask: NDArray[np.bool_] | None = None,
    scales: NDArray[np.float16] | None = None,
    scale_group: int = SCALE_GROUP,
) -> C4nWeight:
    """Pack a dense matrix.

    Parameters
    ----------
    weight : (rows, cols) float
        Finite; within float16's range (65504) unless ``dtype`` is ``"float32"``.
    removed : int
        n, 0..3.
    dtype : {"float32", "float16", "int8", "int4", "int3", "int2"}
    mask : (rows, cols) bool, optional
        True where a weight stays; what lies elsewhere is dropped, whatever its value. Without a
        mask zeros are removed weights; in a group with more zeros than ``removed``, the zeros in
        the lower columns stay, as kept weights of value zero (or, in int2, next to zero).
    scales : (rows, ceil(cols / scale_group)) float16, optional
        Scales chosen elsewhere (int dtypes only); otherwise `group_scales` of the kept weights.
    scale_group : int
        Dense columns per scale; ignored for the float dtypes.

    Raises
    ------
    RecipeError
        ``removed`` outside 0..3, or columns that groups of 4 do not fill while ``removed > 0``.
    C4nError
        The weight does not obey the pattern, is not finite, or overflows; a bad mask or scales.
    """
    values = as_float32(weight, None if dtype == "float32" else FLOAT16_MAX)
    rows, cols = values.shape
    bits = INT_BITS.get(dtype)
    part_shapes(rows, cols, removed, dtype, scale_group if bits else 0)
    if mask is not None and np.shape(mask) != values.shape:
        raise C4nError(f"mask has shape {np.shape(mask)}, the weight {values.shape}")
    if mask is None and removed:
        mask = _mask_of_zeros(values, removed)
    elif mask is not None:
        check_mask(mask, removed)
    if bits is None:
        if scales is not None:
            raise C4nError(f"{dtype} has no scales; leave them out")
        codes: NDArray[Any] = values.astype(STORED_DTYPES[dtype])
        scale_group = 0
    else:
        if mask is not None:
            values = np.where(mask, values, np.float32(0))
        if scales is None:
            scales = group_scales(values, bits, scale_group)
        scales = check_scales(scales, (rows, -(-cols // scale_group)))
        codes = quantize(values, scales, bits, scale_group)
    positions = None
    if removed and mask is not None:
        positions = bitfields.encode_mask(mask, removed)
        codes = codes[mask].reshape(rows, -1)
    if bits and dtype in FIELD_BITS:
        codes = bitfields.pack_fields(field_of_codes(codes, bits), bits)
    return C4nWeight(rows, cols, int(removed), dtype, scale_group, codes, positions, scales)


def _mask_of_zeros(weight: NDArray[np.float32], removed: int) -> NDArray[np.bool_]:
    """Read the pattern off the zeros of a weight."""
    nonzero = weight != 0
    count = count_per_group(nonzero)
    if (count > kept_of(removed)).any():
        row, group = (int(i[0]) for i in np.nonzero(count > kept_of(removed)))
        raise C4nError(
            f"weight has {int(count[row, group])} non-zeros in row {row}, group {group}, but "
            f"{describe(removed)} keeps {kept_of(removed)}; prune it first or pass a mask"
        )
    return mask_from_scores(nonzero, removed)
