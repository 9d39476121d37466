"""Names of runs of rows of a tensor: ``in_proj.weight.rows_0_1536``.

Rows of one matrix that are stored in different ways are tensors of their own in a C4n folder; in
a Hugging Face folder they lie in the tensor that their name begins with. Of a tensor that holds
several matrices, ``input_linear.weight.each_64_rows_0_512`` are the same rows of each of 64: one
matrix, in which they lie below each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS = re.compile(r"(.+)\.(?:each_(\d{1,9})_)?rows_(\d{1,9})_(\d{1,9})")


class Rows(NamedTuple):
    """Rows ``start`` to ``stop`` of the tensor ``source``.

    Attributes
    ----------
    source : str
    start, stop : int
    each : int
        Of how many matrices, which the tensor's first axis counts; 0: it is one matrix, or a
        vector.
    """

    source: str
    start: int
    stop: int
    each: int = 0

    @property
    def name(self) -> str:
        """The name of these rows as a tensor."""
        each = f"each_{self.each}_" if self.each else ""
        return f"{self.source}.{each}rows_{self.start}_{self.stop}"

    @property
    def total(self) -> int:
        """How many rows they are, of all matrices together."""
        return (self.stop - self.start) * (self.each or 1)

    def source_shape(self, columns: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of a tensor that ends with these rows, given the axes behind them."""
        return (*([self.each] if self.each else []), self.stop, *columns)

    def shape_in(self, source: Sequence[int]) -> tuple[int, ...] | None:
        """Return the shape of these rows in a tensor of a shape; None where they are not in it."""
        outer, inner = ([self.each], source[1:]) if self.each else ([], source)
        if list(source[: len(outer)]) != outer or not inner or inner[0] < self.stop:
            return None
        return (self.total, *inner[1:])

    def taken_from(self, source: NDArray[Any]) -> NDArray[Any]:
        """Return these rows of a tensor that has them."""
        if not self.each:
            return source[self.start : self.stop]
        found = source[:, self.start : self.stop]
        return found.reshape(self.total, *source.shape[2:])

    def place(self, row: int) -> list[int]:
        """Return where in the tensor one of these rows is."""
        matrix, inner = divmod(row, self.stop - self.start)
        return [*([matrix] if self.each else []), self.start + inner]

    def apart(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Undo `taken_from`: give back the axis of the matrices, if there is one."""
        return rows.reshape(self.each, -1, *rows.shape[1:]) if self.each else rows


def joined(parts: Sequence[tuple[Rows, NDArray[Any]]]) -> NDArray[Any]:
    """Return the tensor that these rows, in order, make up."""
    axis = 1 if parts[0][0].each else 0
    return np.concatenate([rows.apart(array) for rows, array in parts], axis=axis)


def rows_of(name: str) -> Rows | None:
    """Read a name back; None where it is that of a whole tensor."""
    match = _ROWS.fullmatch(name)
    return match and Rows(match[1], int(match[3]), int(match[4]), int(match[2] or 0))
