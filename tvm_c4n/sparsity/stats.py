"""Sizes and errors of stored weights, for reports and for allocation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity.quantize import SCALE_GROUP
from tvm_c4n.sparsity.removed import Removed
from tvm_c4n.sparsity.weight import STORED_DTYPES, C4nWeight, part_shapes


def size_bytes(
    rows: int, cols: int, removed: Removed, dtype: str, scale_group: int = SCALE_GROUP
) -> int:
    """Count the bytes that a weight takes when stored, without packing it.

    ``scale_group`` is ignored for the float dtypes. Raises as `part_shapes`.
    """
    if isinstance(removed, tuple):
        each = rows // len(removed)
        return sum(size_bytes(each, cols, n, dtype, scale_group) for n in removed)
    group = scale_group if dtype.startswith("int") else 0
    shapes = part_shapes(rows, cols, removed, dtype, group)
    size = prod(shapes.values) * np.dtype(STORED_DTYPES[dtype]).itemsize
    size += prod(shapes.positions) if shapes.positions else 0
    return size + (2 * prod(shapes.scales) if shapes.scales else 0)


@dataclass(frozen=True)
class WeightStats:
    """What one stored weight, or a set of them, costs.

    Attributes
    ----------
    weights : int
        Dense weights, rows * cols.
    kept : int
        Weights whose value is stored.
    zeros : int
        Stored weights whose value is zero: they cost bytes and do nothing.
    size_bytes : int
        Values, positions and scales.
    """

    weights: int
    kept: int
    zeros: int
    size_bytes: int


def stats_of(weight: C4nWeight) -> WeightStats:
    """Count what a stored weight costs."""
    kept = weight.rows * weight.stored
    # unpacked_values pads the short last group of a dense weight with zeros: count non-zeros.
    zeros = kept - int(np.count_nonzero(weight.unpacked_values()))
    return WeightStats(weight.rows * weight.cols, kept, zeros, weight.size_bytes)


def total(stats: Iterable[WeightStats]) -> WeightStats:
    """Add the stats of several weights."""
    parts = list(stats)
    return WeightStats(
        sum(part.weights for part in parts),
        sum(part.kept for part in parts),
        sum(part.zeros for part in parts),
        sum(part.size_bytes for part in parts),
    )


def relative_error(weight: C4nWeight, dense: NDArray[Any]) -> float:
    """Return the Frobenius norm of (stored - dense) over that of dense; 0 for two zero matrices.

    Raises
    ------
    C4nError
        ``dense`` is not (rows, cols).
    """
    reference = np.asarray(dense, dtype=np.float64)
    if reference.shape != (weight.rows, weight.cols):
        raise C4nError(f"shape {reference.shape} is not ({weight.rows}, {weight.cols})")
    difference = float(np.linalg.norm(weight.dense() - reference))
    norm = float(np.linalg.norm(reference))
    return difference / norm if norm else (0.0 if difference == 0 else float("inf"))
