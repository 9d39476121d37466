"""Softmax over blocks of scores, computed along the way (Milakov and Gimelshein 2018).

What has been added up with the weights of blocks before is rescaled when a block has a higher
score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import exp2, load, splat, store


def weigh(scores: Any, kept: tuple[Any, Any, Any], row: Any, lanes: int) -> None:
    """Emit a row's weights in place of its scores, and what is kept of the blocks before.

    Parameters
    ----------
    scores : Buffer, (rows, block)
        Scores of a block, to base 2.
    kept : tuple of Buffer
        ``(rows,)`` the highest score so far; ``(rows,)`` by which sums so far are multiplied;
        ``(rows, lanes)`` the sums of the weights, lane by lane.
    row : PrimExpr
    lanes : int
        Divides the length of a block.
    """
    tops, keeps, totals = kept
    places = range(0, int(scores.shape[1]), lanes)
    found = [T.bind(load(scores, (row,), at, lanes)) for at in places]
    highest = found[0]
    for vector in found[1:]:
        highest = T.max(highest, vector)
    top = T.bind(T.max(tops[row], across(highest, lanes, T.max)))
    keep = exp2(tops[row] - top, 1)
    T.buffer_store(keeps, keep, [row])
    T.buffer_store(tops, top, [row])
    total = load(totals, (row,), 0, lanes) * splat(keep, lanes)
    for at, vector in zip(places, found, strict=True):
        weight = exp2(vector - splat(top, lanes), lanes)
        store(scores, (row,), at, lanes, weight)
        total = total + weight
    store(totals, (row,), 0, lanes, total)


def across(vector: Any, lanes: int, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the lanes of a vector, a power of two, halves with halves."""
    while lanes > 1:
        vector, lanes = T.bind(vector), lanes // 2
        low, high = (
            T.Shuffle([vector], [T.int32(first + i) for i in range(lanes)]) for first in (0, lanes)
        )
        vector = combine(low, high)
    return T.bind(vector)
