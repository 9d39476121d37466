"""A schedule rule: writes the fast body of one kind of operator for one instruction set."""

from __future__ import annotations

from typing import Any, Protocol

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import PrimFunc, T
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import loop

PARALLEL_BYTES = 64 * 1024
"""A kernel that touches less than this is faster on one thread than a fork and a join."""


class Rule(Protocol):
    """One rule; the first of `schedules.RULES` that answers is used."""

    name: str

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> PrimFunc | None:
        """Return the scheduled PrimFunc, or None where the rule does not apply."""
        ...


def covered(extent: Any, lanes: int) -> tuple[int, int]:
    """Return how many whole vectors cover an extent, and how many elements are left."""
    return extent // lanes, extent % lanes


def channel_blocks(channels: int, lanes: int, *, parallel: bool, emit: Any) -> None:
    """Emit a loop over vectors of channels, in parallel for prefill, then the scalar rest.

    Parameters
    ----------
    emit : callable
        ``emit(start, lanes)`` emits the code for one vector of channels.
    """
    whole, rest = covered(channels, lanes)
    if whole:
        with T.parallel(whole) if parallel else T.serial(whole) as block:
            emit(block * lanes, lanes)
    if rest:
        with loop(rest) as lane:
            emit(whole * lanes + lane, 1)
