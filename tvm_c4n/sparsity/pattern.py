"""The C4n pattern: which n of every 4 contiguous weights of a row are removed.

Axes: ``rows`` are output features, ``cols`` input features; a *group* is 4 contiguous columns of
one row that start at a multiple of 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError, RecipeError

GROUP = 4
MAX_REMOVED = GROUP - 1
# Weights of a block of rows: few enough that its temporaries stay in the L3 cache.
_BLOCK_WEIGHTS = 1 << 20


def kept_of(removed: int) -> int:
    """Return the weights that stay in each group of 4.

    Raises
    ------
    RecipeError
        Unless ``removed`` is an integer in 0..3.
    """
    if isinstance(removed, bool) or not isinstance(removed, (int, np.integer)):
        raise RecipeError(f"removed must be an integer in 0..3, not {removed!r}")
    if not 0 <= removed <= MAX_REMOVED:
        raise RecipeError(f"removed={removed} is outside 0..3: C4n removes n of every 4 weights")
    return GROUP - int(removed)


def describe(removed: int) -> str:
    """Say a pattern in words, so that n is never mistaken for the kept count.

    Returns
    -------
    str
        ``"n=3: 3 of 4 removed, 25 % kept"``; ``"dense"`` for 0.
    """
    kept = kept_of(removed)
    if removed == 0:
        return "dense"
    percent = 100 * kept // GROUP
    return f"n={removed}: {removed} of 4 removed, {percent} % kept"


def check_cols(cols: int, removed: int) -> None:
    """Refuse a width that groups of 4 do not fill; a dense weight may have any width.

    Raises
    ------
    RecipeError
        If ``removed`` is outside 0..3, or above 0 where ``cols`` is not a multiple of 4.
    """
    kept_of(removed)
    if removed and cols % GROUP:
        raise RecipeError(
            f"{cols} columns are not a multiple of {GROUP}: no whole groups for C4n n={removed}; "
            "keep this projection dense (removed=0)"
        )


def row_blocks(rows: int, cols: int) -> Iterator[slice]:
    """Cut rows into slices of about a million weights: bounds the memory of temporaries."""
    step = max(1, _BLOCK_WEIGHTS // max(1, cols))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def check_matrix(array: NDArray[Any], what: str) -> None:
    """Raise C4nError unless ``array`` has two axes, neither of them empty."""
    if array.ndim != 2 or 0 in array.shape:
        raise C4nError(f"{what} must be a non-empty (rows, cols) matrix, not shape {array.shape}")


def mask_from_scores(scores: NDArray[Any], removed: int) -> NDArray[np.bool_]:
    """Keep the best weights of each group.

    Parameters
    ----------
    scores : (rows, cols) float or integer
        Higher is better. Infinities are allowed (to force a weight in or out), NaN is not.
    removed : int
        Weights to remove from each group, 0..3.

    Returns
    -------
    (rows, cols) bool
        True where the weight stays: exactly ``4 - removed`` per group. Of equal scores the lower
        column stays, so the mask is a function of the scores alone.

    Raises
    ------
    RecipeError
        ``removed`` outside 0..3, or ``cols`` not a multiple of 4 while ``removed > 0``.
    C4nError
        ``scores`` is not a matrix or holds NaN.
    """
    scores = np.asarray(scores)
    check_matrix(scores, "scores")
    rows, cols = scores.shape
    check_cols(cols, removed)
    mask = np.ones((rows, cols), dtype=np.bool_)
    kept = kept_of(removed)
    for block in row_blocks(rows, cols):
        part = scores[block]
        if part.dtype.kind not in "bui" and np.isnan(part).any():
            row, col = (int(i[0]) for i in np.nonzero(np.isnan(part)))
            raise C4nError(f"score of row {block.start + row}, column {col} is NaN")
        if removed:
            mask[block] = _best_of_group(part, kept)
    return mask


def _best_of_group(scores: NDArray[Any], kept: int) -> NDArray[np.bool_]:
    """Mask of the ``kept`` best of each group: for each column, count those that beat it."""
    column = [np.ascontiguousarray(scores[:, i::GROUP]) for i in range(GROUP)]
    beaten_by = [np.zeros(column[0].shape, dtype=np.uint8) for _ in range(GROUP)]
    for low in range(GROUP):
        for high in range(low + 1, GROUP):
            high_wins = column[high] > column[low]  # strict: a tie goes to the lower column
            beaten_by[low] += high_wins
            beaten_by[high] += ~high_wins
    mask = np.empty(scores.shape, dtype=np.bool_)
    for i in range(GROUP):
        mask[:, i::GROUP] = beaten_by[i] < kept
    return mask


def count_per_group(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Count the True of each group: (rows, cols) bool -> (rows, cols / 4) uint8."""
    total = flags[:, 0::GROUP].astype(np.uint8)
    for i in range(1, GROUP):
        total += flags[:, i::GROUP]
    return total


def check_mask(mask: NDArray[Any], removed: int) -> None:
    """Check that every group removes exactly ``removed`` weights.

    Parameters
    ----------
    mask : (rows, cols) bool
        True where the weight stays.
    removed : int
        0..3.

    Raises
    ------
    RecipeError
        As `mask_from_scores`.
    C4nError
        ``mask`` is not a boolean matrix, or a group has another count: the first is named.
    """
    mask = np.asarray(mask)
    check_matrix(mask, "mask")
    if mask.dtype != np.bool_:
        raise C4nError(f"mask must be bool, not {mask.dtype}")
    kept = kept_of(removed)
    check_cols(mask.shape[1], removed)
    if removed == 0:
        if not mask.all():
            row, col = (int(i[0]) for i in np.nonzero(~mask))
            raise C4nError(f"mask of a dense weight removes row {row}, group {col // GROUP}")
        return
    count = count_per_group(mask)
    if (count != kept).any():
        row, group = (int(i[0]) for i in np.nonzero(count != kept))
        raise C4nError(
            f"mask keeps {int(count[row, group])} weights in row {row}, group {group}; "
            f"C4n n={removed} keeps {kept}"
        )


def detect_removed(weight: NDArray[Any]) -> int:
    """Find the sparsest pattern that a weight already obeys.

    Parameters
    ----------
    weight : (rows, cols) number
        Zeros count as removed weights.

    Returns
    -------
    int
        The largest n in 0..3 such that every group has at least n zeros; 0 where ``cols`` is not
        a multiple of 4.

    Raises
    ------
    C4nError
        ``weight`` is not a matrix.
    """
    weight = np.asarray(weight)
    check_matrix(weight, "weight")
    rows, cols = weight.shape
    if cols % GROUP:
        return 0
    found = MAX_REMOVED
    for block in row_blocks(rows, cols):
        found = min(found, int(count_per_group(weight[block] == 0).min()))
        if found == 0:
            break
    return found
