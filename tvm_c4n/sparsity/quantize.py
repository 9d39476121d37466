"""Integers of 8, 4, 3 and 2 bits with one float16 scale per row and ``scale_group`` dense columns.

A stored weight means ``q * scale``, with q from `CODES`. Scales may be negative, so that a group of
int4 or int3 can spend the code that has no opposite on whichever sign its largest weight has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity.bits import pad_cols
from tvm_c4n.sparsity.pattern import GROUP, check_matrix, row_blocks

FLOAT16_MAX = 65504.0
SCALE_GROUP = 64


class Codes(NamedTuple):
    """The integers that a weight can be, times its scale: low, low + step, ..., high."""

    low: int
    high: int
    step: int = 1

    @property
    def offset(self) -> int:
        """What all codes differ by from multiples of the step."""
        return self.low % self.step


# By bits. Two bits have odd codes, so that none of the four is spent on zero: rounded so, weights
# of a trained model have 7 to 22 % less squared error than with -2..1; with three bits the plain
# integers are better by up to 7 %.
CODES = {8: Codes(-127, 127), 4: Codes(-8, 7), 3: Codes(-4, 3), 2: Codes(-3, 3, 2)}
# Candidate scales are (weight of largest magnitude) / divisor, by bits. The first of int4 and int3
# spends the code without an opposite on that weight; beyond the ends of the range it is clipped so
# that the others are rounded finer.
SCALE_DIVISORS = {
    4: (-8.0, -8.5, -9.25, -10.0, -7.5, -7.0, -6.5, 7.0, 7.5, 8.25, 9.0, 6.5),
    3: (-4.0, -4.35, -4.75, -5.25, -5.8, -6.5, -3.7, -3.4, 3.0, 3.4, 3.8, 4.25, 4.8, 5.5, 2.7),
    2: (3.0, 3.4, 3.8, 4.25, 4.75, 5.3, 6.0, 6.8, 7.8, 2.7),
}


def default_scale_group(removed: int) -> int:
    """Return the dense columns that share a scale, unless a recipe says otherwise.

    Where half of the weights or more are removed, twice as many: 64 kept weights share a scale with
    n=2 as with n=0, 32 with n=3.
    """
    return 2 * SCALE_GROUP if removed >= 2 else SCALE_GROUP


def check_scale_group(scale_group: int) -> None:
    """Raise C4nError unless ``scale_group`` is a positive multiple of 4 (groups are not split)."""
    if scale_group < GROUP or scale_group % GROUP:
        raise C4nError(f"scale_group={scale_group} is not a positive multiple of {GROUP}; try 64")


def as_float32(weight: NDArray[Any], limit: float | None = None) -> NDArray[np.float32]:
    """Convert to a finite float32 matrix.

    Raises
    ------
    C4nError
        Not a matrix, NaN, infinite, or of magnitude above ``limit``: the first place is named.
    """
    source = np.asarray(weight)
    check_matrix(source, "weight")
    with np.errstate(over="ignore"):  # what overflows is reported below
        result = np.asarray(source, dtype=np.float32)
    for block in row_blocks(*result.shape):
        part = np.abs(result[block])
        bad = ~np.isfinite(part) if limit is None else ~(part <= limit)
        if bad.any():
            row, col = (int(i[0]) for i in np.nonzero(bad))
            place = f"weight {source[block.start + row, col]} of row {block.start + row}, col {col}"
            if np.isfinite(part[row, col]):
                raise C4nError(f"{place} overflows float16 (largest {limit:g}); store float32")
            raise C4nError(f"{place} is not finite; the model is damaged or training diverged")
    return result


def _grouped(block: NDArray[np.float32], scale_group: int) -> NDArray[np.float32]:
    """View (rows, cols) as (rows, scale groups, scale_group), zeros filling the last one."""
    padded = pad_cols(block, scale_group)
    return padded.reshape(len(padded), -1, scale_group)


def _codes(
    grouped: NDArray[np.float32], scales: NDArray[np.float32], bits: int
) -> NDArray[np.float32]:
    """Round ``w / scale`` to the nearest code, as float32; as if w were 0 where scale is 0."""
    divisor = np.where(scales == 0, np.float32(np.inf), scales)[..., None]
    return nearest_codes(np.asarray(grouped / divisor, np.float32), bits)


def nearest_codes(multiples: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round multiples of scales to the nearest codes; ties to the even multiple of the step."""
    low, high, step = CODES[bits]
    if step == 1:
        codes = np.rint(multiples)
    else:
        offset = np.float32(CODES[bits].offset)
        codes = np.rint((multiples - offset) / np.float32(step)) * np.float32(step) + offset
    return np.asarray(np.clip(codes, low, high, out=codes))


def _codes_of_kept(
    grouped: NDArray[np.float32], scales: NDArray[np.float32], bits: int
) -> NDArray[np.float32]:
    """Round as `_codes`, and removed weights, which are 0, to 0, though it may be no code."""
    codes = _codes(grouped, scales, bits)
    return codes * (grouped != 0) if CODES[bits].offset else codes


def _squared_error(
    grouped: NDArray[np.float32], scales: NDArray[np.float32], bits: int
) -> NDArray[np.float32]:
    error = _codes_of_kept(grouped, scales, bits)
    error *= scales[..., None]
    error -= grouped
    return np.asarray(np.einsum("rgc,rgc->rg", error, error))


def _int8_scales(grouped: NDArray[np.float32]) -> NDArray[np.float16]:
    largest = np.abs(grouped).max(axis=2)
    scales = (largest / np.float32(127)).astype(np.float16)
    # Subnormal scales are coarse: one rounded down would clip the largest weight, so take the next.
    clips = largest > scales.astype(np.float32) * np.float32(127.5)
    return np.asarray(np.where(clips, np.nextafter(scales, np.float16(np.inf)), scales))


def _searched_scales(grouped: NDArray[np.float32], bits: int) -> NDArray[np.float16]:
    where = np.abs(grouped).argmax(axis=2)[..., None]
    largest = np.take_along_axis(grouped, where, axis=2)[..., 0]
    best = np.zeros(largest.shape, dtype=np.float32)
    best_error = np.full(largest.shape, np.inf, dtype=np.float32)

    def offer(candidate: NDArray[np.float32]) -> None:
        scales = candidate.astype(np.float16).astype(np.float32)
        error = _squared_error(grouped, scales, bits)
        better = error < best_error  # strict: of equal candidates the first stays
        np.copyto(best, scales, where=better)
        np.copyto(best_error, error, where=better)

    for divisor in SCALE_DIVISORS[bits]:
        offer(largest / np.float32(divisor))
    codes = _codes_of_kept(grouped, best, bits)  # least squares for the codes of the best candidate
    power = np.einsum("rgc,rgc->rg", codes, codes)
    fit = np.einsum("rgc,rgc->rg", codes, grouped)
    offer(np.where(power > 0, fit / np.maximum(power, np.float32(1)), best))
    return best.astype(np.float16)


def group_scales(
    weight: NDArray[Any], bits: int, scale_group: int = SCALE_GROUP
) -> NDArray[np.float16]:
    """Choose the scale of each row and ``scale_group`` columns.

    Parameters
    ----------
    weight : (rows, cols) float
        Removed weights must already be zero: they then cost nothing and claim no range.
    bits : {8, 4, 3, 2}
        int8: ``max|w| / 127``. Others: of a small grid of scales, of both signs where the codes are
        not symmetric, and one least-squares refit, the one with the least squared error.
    scale_group : int
        A multiple of 4. The last group of a row may be short.

    Returns
    -------
    (rows, ceil(cols / scale_group)) float16
        0 for a group of zeros.

    Raises
    ------
    C4nError
        Bad ``bits`` or ``scale_group``; a weight that is NaN, infinite or above 65504.
    """
    _check_bits(bits)
    check_scale_group(scale_group)
    values = as_float32(weight, FLOAT16_MAX)
    rows, cols = values.shape
    scales = np.empty((rows, -(-cols // scale_group)), dtype=np.float16)
    for block in row_blocks(rows, cols):
        grouped = _grouped(values[block], scale_group)
        scales[block] = _int8_scales(grouped) if bits == 8 else _searched_scales(grouped, bits)
    return scales


def quantize(
    weight: NDArray[Any],
    scales: NDArray[np.float16],
    bits: int,
    scale_group: int = SCALE_GROUP,
) -> NDArray[np.int8]:
    """Round weights to codes with given scales.

    Parameters
    ----------
    weight : (rows, cols) float
    scales : (rows, ceil(cols / scale_group)) float16
        Finite, of either sign.
    bits : {8, 4, 3, 2}
    scale_group : int

    Returns
    -------
    (rows, cols) int8
        The code of `CODES` that is nearest to ``w / scale`` in float32 (ties to even); where the
        scale is 0, the one nearest to 0.

    Raises
    ------
    C4nError
        As `group_scales`, and for scales of a wrong shape or not finite.
    """
    _check_bits(bits)
    check_scale_group(scale_group)
    values = as_float32(weight, FLOAT16_MAX)
    rows, cols = values.shape
    scales = check_scales(scales, (rows, -(-cols // scale_group)))
    codes = np.empty((rows, cols), dtype=np.int8)
    for block in row_blocks(rows, cols):
        grouped = _grouped(values[block], scale_group)
        rounded = _codes(grouped, scales[block].astype(np.float32), bits)
        codes[block] = rounded.reshape(len(grouped), -1)[:, :cols]
    return codes


def check_scales(scales: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float16]:
    """Return ``scales`` as float16; C4nError unless they have ``shape`` and are finite."""
    scales = np.asarray(scales)
    if scales.shape != shape:
        raise C4nError(f"scales have shape {scales.shape}, expected {shape}")
    with np.errstate(over="ignore"):  # what overflows is reported next
        scales = scales.astype(np.float16, copy=False)
    if not np.isfinite(scales).all():
        raise C4nError("a scale is not finite in float16")
    return scales


def spread_scales(scales: NDArray[np.float16], cols: int, scale_group: int) -> NDArray[np.float32]:
    """Repeat scales over their columns: (rows, scale groups) float16 -> (rows, cols) float32."""
    return np.repeat(scales.astype(np.float32), scale_group, axis=1)[:, :cols]


def _check_bits(bits: int) -> None:
    if bits not in CODES:
        raise C4nError(f"bits={bits} is not 8, 4, 3 or 2")
