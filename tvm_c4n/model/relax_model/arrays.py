"""Weights as the operators take them, each read and converted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.sparsity import AnyWeight, C4nWeight, DType, from_dense

T = TypeVar("T")


class Weights(Protocol):
    """The part of a checkpoint that is read here."""

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor as float32."""

    def weight(self, name: str) -> AnyWeight | None:
        """Read one stored weight; None where it is stored dense."""


class Arrays:
    """Reads a checkpoint; what is asked for again is the same object.

    The functions of a module share constants by that.

    Parameters
    ----------
    weights : Checkpoint
        A C4n folder, or a dense one.
    dtype : str
        Of projections that the checkpoint stores dense.
    """

    def __init__(self, weights: Weights, dtype: DType) -> None:
        self._weights, self._dtype = weights, dtype
        self._made: dict[str, Any] = {}

    def packed(self, name: str) -> C4nWeight:
        """Return a matrix."""
        found = self.experts(name)
        assert isinstance(found, C4nWeight)  # noqa: S101 - only names of experts have others
        return found

    def experts(self, name: str) -> AnyWeight:
        """Return the matrices of experts, below each other."""

        def read() -> AnyWeight:
            found = self._weights.weight(name)
            return found or from_dense(self._weights.dense(name), 0, self._dtype)

        return self.made(name, read)

    def exact(self, name: str) -> C4nWeight:
        """Return a matrix that is stored dense: float16 if that loses nothing, else float32."""

        def read() -> C4nWeight:
            values = self.vector(name)
            with np.errstate(over="ignore"):
                half = np.array_equal(values.astype(np.float16), values)
            return from_dense(values, 0, "float16" if half else "float32")

        return self.made(f"{name} exact", read)

    def vector(self, name: str) -> NDArray[np.float32]:
        """Return a tensor as float32."""
        return self.made(name, lambda: np.ascontiguousarray(self._weights.dense(name), np.float32))

    def converted(
        self, name: str, convert: Callable[[NDArray[np.float32]], NDArray[Any]], part: str = ""
    ) -> NDArray[Any]:
        """Return what a function makes of a tensor; ``part`` tells a tensor's functions apart."""
        return self.made(
            f"{name} {part}", lambda: np.ascontiguousarray(convert(self._weights.dense(name)))
        )

    def made(self, name: str, make: Callable[[], T]) -> T:
        """Return what a function makes under a name, or made before."""
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found
