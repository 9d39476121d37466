"""Symbolic dimensions of a batched step, in Relax types and in the PrimFuncs that take them.

Each PrimFunc has symbols of its own for those of the Relax function that calls it.
"""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import relax, tirx


def is_symbolic(dim: Any) -> bool:
    """Return whether a dimension is known at run time only."""
    return not isinstance(dim, int | tirx.IntImm)


def dims(kind: relax.TensorType) -> list[Any]:
    """Return the dimensions of a tensor: integers and symbols."""
    return [dim if is_symbolic(dim) else int(dim) for dim in kind.shape]


class Symbols:
    """The symbols of one PrimFunc, made when they are first asked for."""

    def __init__(self) -> None:
        self._own: dict[Any, Any] = {}

    def shape(self, kind: relax.TensorType) -> list[Any]:
        """Return a tensor's shape with symbols of this PrimFunc for those of Relax."""
        return [self._local(dim) if is_symbolic(dim) else dim for dim in dims(kind)]

    def _local(self, symbol: Any) -> Any:
        if symbol not in self._own:
            self._own[symbol] = tirx.Var(symbol.name, "int64")
        return self._own[symbol]
