"""A schedule rule: writes the fast body of one kind of operator for one instruction set."""

from __future__ import annotations

from typing import Any, Protocol

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel


class Rule(Protocol):
    """One rule; the first of `schedules.RULES` that answers is used."""

    name: str

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel, or None where the rule does not apply."""
        ...


def covered(extent: Any, lanes: int) -> tuple[int, int]:
    """Return how many whole vectors cover an extent, and how many elements are left."""
    return extent // lanes, extent % lanes


def channel_blocks(channels: int, lanes: int, *, emit: Any) -> None:
    """Emit parallel loops over the vectors of channels and over the scalar rest.

    Parameters
    ----------
    emit : callable
        ``emit(start, lanes)`` emits the code for one vector of channels.
    """
    whole, rest = covered(channels, lanes)
    if whole:
        with T.parallel(whole) as block:
            emit(block * lanes, lanes)
    if rest:
        with T.parallel(rest) as lane:
            emit(whole * lanes + lane, 1)
