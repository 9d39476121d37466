"""Reshapes of symbolic shapes as index maths, axis by axis.

TVM legalises a reshape as ``flat // strides % lengths`` over the whole tensor. Static shapes are
simplified to what is meant; with a symbolic length the simplifier cannot know that an index is
smaller than it, and the divisions stay in every kernel that takes the reshape over. Here the axes
are paired up first: what stays as it is keeps its index, and only axes that are merged or split
are divided, by static numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from relay_passes.analysis import is_one
from tvm_c4n._tvm import Analyzer, te, tirx

# The axes of the input and those of the result that hold the same elements.
Group = tuple[list[int], list[int]]


def direct_reshape(source: te.Tensor, shape: Sequence[Any]) -> te.Tensor | None:
    """Return the reshape of a tensor, None where its axes cannot be paired up.

    Parameters
    ----------
    source : te.Tensor
    shape : sequence of PrimExpr
    """
    groups = _groups(list(source.shape), list(shape))
    if groups is None:
        return None

    def element(*index: Any) -> Any:
        places: list[Any] = [tirx.IntImm("int64", 0)] * len(source.shape)
        for inner, outer in groups:
            flat: Any = tirx.IntImm("int64", 0)
            for axis in outer:
                flat = flat * shape[axis] + index[axis]
            for number, axis in enumerate(inner):
                stride = prod(int(source.shape[a]) for a in inner[number + 1 :])
                place = flat if stride == 1 else flat // stride
                places[axis] = place if number == 0 else place % source.shape[axis]
        return source[tuple(places)]

    return te.compute(list(shape), element, name="T_reshape")


def _groups(inner: list[Any], outer: list[Any]) -> list[Group] | None:
    """Pair the axes up in groups as small as possible; axes of length 1 belong to none."""
    if any(isinstance(n, tirx.IntImm) and int(n) == 0 for n in (*inner, *outer)):
        return None  # nothing to read, and zero would divide
    axes = [[i for i, n in enumerate(shape) if not is_one(n)] for shape in (inner, outer)]
    groups: list[Group] = []
    while axes[0] and axes[1]:
        group: Group = ([axes[0].pop()], [axes[1].pop()])  # from the last axis on
        while not _same(_length(inner, group[0]), _length(outer, group[1])):
            side = _shorter(_length(inner, group[0]), _length(outer, group[1]))
            if side is None or not axes[side]:
                return None
            group[side].insert(0, axes[side].pop())
        if any(not isinstance(inner[axis], tirx.IntImm) for axis in group[0][1:]):
            return None  # would divide by a symbolic length
        groups.append(group)
    return None if axes[0] or axes[1] else groups


def _length(shape: list[Any], axes: list[int]) -> Any:
    length: Any = tirx.IntImm("int64", 1)
    for axis in axes:
        length = length * shape[axis]
    return length


def _same(a: Any, b: Any) -> bool:
    return bool(Analyzer().can_prove_equal(a, b))


def _shorter(a: Any, b: Any) -> int | None:
    """Return the side that needs one more axis: 0 for the first, None where nobody can tell."""
    fixed = [isinstance(n, tirx.IntImm) for n in (a, b)]
    if all(fixed):
        return 0 if int(a) < int(b) else 1
    return fixed.index(True) if any(fixed) else None
