"""Several matrices below each other, each with an n of its own, as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity.pack import from_dense
from tvm_c4n.sparsity.quantize import SCALE_GROUP
from tvm_c4n.sparsity.removed import Removed
from tvm_c4n.sparsity.weight import C4nWeight, DType


@dataclass(frozen=True, eq=False)
class StackedWeight:
    """A weight whose matrices differ in n: those with the same one lie together.

    Attributes
    ----------
    removed : tuple of int
        n of each matrix; there are two or more different ones.
    parts : tuple of C4nWeight
        By ascending n: the matrices that have it, in order, below each other. Columns, dtype and
        scale group are the same for all, and so are the rows of a matrix.

    Raises
    ------
    C4nError
        When made of parts that are no such weight.
    """

    removed: tuple[int, ...]
    parts: tuple[C4nWeight, ...]

    def __post_init__(self) -> None:
        if len(set(self.removed)) < 2:
            raise C4nError("n of the matrices of a weight is given for each, and all are the same")
        first = self.parts[0]
        form = (first.cols, first.dtype, first.scale_group)
        wanted = sorted(set(self.removed))
        rows, rest = divmod(sum(part.rows for part in self.parts), len(self.removed))
        fits = not rest and [part.removed for part in self.parts] == wanted
        for part in self.parts:
            fits &= (part.cols, part.dtype, part.scale_group) == form
            fits &= part.rows == rows * self.removed.count(part.removed)
        if not fits:
            raise C4nError("the parts of a weight do not fit each other")

    @classmethod
    def of(cls, matrices: Sequence[C4nWeight]) -> C4nWeight | StackedWeight:
        """Return one weight of matrices below each other."""
        removed = tuple(matrix.removed for matrix in matrices)
        parts = tuple(
            C4nWeight.stack([matrix for matrix in matrices if matrix.removed == n])
            for n in sorted(set(removed))
        )
        return parts[0] if len(parts) == 1 else cls(removed, parts)

    @property
    def rows(self) -> int:
        """Rows of all matrices."""
        return sum(part.rows for part in self.parts)

    @property
    def cols(self) -> int:
        """Columns."""
        return self.parts[0].cols

    @property
    def dtype(self) -> DType:
        """The dtype of the kept weights."""
        return self.parts[0].dtype

    @property
    def scale_group(self) -> int:
        """Dense columns per scale; 0 for the float dtypes."""
        return self.parts[0].scale_group

    @property
    def size_bytes(self) -> int:
        """Bytes of values, positions and scales."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def scales(self) -> NDArray[np.float16] | None:
        """Scales of all rows, in order; None for the float dtypes."""
        if not self.scale_group:
            return None
        return self._in_order(lambda part: np.asarray(part.scales))

    def places(self) -> list[tuple[int, int]]:
        """Return where each matrix is: the number of its part, and its own number there."""
        ns = [part.removed for part in self.parts]
        return [(ns.index(n), self.removed[:i].count(n)) for i, n in enumerate(self.removed)]

    def matrix(self, index: int) -> C4nWeight:
        """Return one of the matrices, as views."""
        part, number = self.places()[index]
        rows = self.rows // len(self.removed)
        return self.parts[part].between(number * rows, (number + 1) * rows)

    def dense(self) -> NDArray[np.float32]:
        """Expand to (rows, cols) float32, see `C4nWeight.dense`."""
        return self._in_order(lambda part: part.dense())

    def mask(self) -> NDArray[np.bool_]:
        """Where a weight is kept: (rows, cols) bool."""
        return self._in_order(lambda part: part.mask())

    def check(self) -> None:
        """Check the content, see `C4nWeight.check`."""
        for part in self.parts:
            part.check()

    def _in_order(self, rows_of: Callable[[C4nWeight], NDArray[Any]]) -> NDArray[Any]:
        """Return what parts have for each row, in the order of the matrices."""
        found = [np.split(rows_of(part), self.removed.count(part.removed)) for part in self.parts]
        return np.concatenate([found[part][number] for part, number in self.places()])


AnyWeight: TypeAlias = C4nWeight | StackedWeight


def pack(
    weight: NDArray[Any],
    removed: Removed,
    dtype: DType,
    *,
    mask: NDArray[np.bool_] | None = None,
    scales: NDArray[np.float16] | None = None,
    scale_group: int = SCALE_GROUP,
) -> AnyWeight:
    """Pack a dense matrix, or several below each other that differ in n: see `from_dense`.

    Raises
    ------
    C4nError
        As `from_dense`, or the rows are no multiple of the matrices.
    """
    if not isinstance(removed, tuple):
        return from_dense(weight, removed, dtype, mask=mask, scales=scales, scale_group=scale_group)
    if len(weight) % len(removed):
        raise C4nError(f"{len(weight)} rows are no multiple of {len(removed)} matrices")
    rows = len(weight) // len(removed)
    ends = range(0, len(weight) + 1, rows)
    return StackedWeight.of(
        [
            from_dense(
                weight[start:end],
                n,
                dtype,
                mask=None if mask is None or not n else mask[start:end],
                scales=None if scales is None else scales[start:end],
                scale_group=scale_group,
            )
            for n, (start, end) in zip(removed, pairwise(ends), strict=True)
        ]
    )
