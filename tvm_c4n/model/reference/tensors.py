"""What the formula of a block reads and changes."""

from __future__ import annotations

from collections.abc import Mapping

from tvm_c4n.model.description import Block
from tvm_c4n.model.reference.formulas import Array

# By the name of the description's `State`; a formula puts the new ones in their places.
States = dict[str, Array]


class Tensors:
    """The tensors of one block, by their names without the prefix.

    Parameters
    ----------
    block : Block
    tensors : mapping of str to ndarray
        Of the whole model.
    """

    def __init__(self, block: Block, tensors: Mapping[str, Array]) -> None:
        self._prefix, self._tensors = block.prefix, tensors
        self._block, self._projections = block, {p.name: p for p in block.projections()}

    def __getitem__(self, name: str) -> Array:
        return self._tensors[self._prefix + name]

    def linear(self, projection: str, x: Array) -> Array:
        """``factor * x @ weight.T + bias_factor * bias`` of one: (t, cols) -> (t, rows)."""
        found = self._projections[projection]
        y = self._block.factor(projection) * x @ self._tensors[found.weight].T
        return y if found.bias is None else y + found.bias_factor * self._tensors[found.bias]
