"""A schedule rule: writes the fast body of one kind of operator for one instruction set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel, vectors

# Decisions that a rule leaves open for a kernel, with their candidates. The first candidate of each
# is the default, chosen by hand.
Space: TypeAlias = Mapping[str, tuple[int, ...]]
# One candidate for each decision of a space.
Decisions: TypeAlias = Mapping[str, int]


# What files of decisions called them before, and their names now.
_FORMER_NAMES = {"tiles": "panels", "ahead": "prefetch_distance"}


def current_names(decisions: Decisions) -> dict[str, int]:
    """Return decisions that were read from a file under the names that rules have now."""
    return {_FORMER_NAMES.get(name, name): value for name, value in decisions.items()}


class Rule(Protocol):
    """One rule; the first of `schedules.RULES` that answers is used."""

    @property
    def name(self) -> str:
        """What artifacts and reports call it."""
        ...

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel, or None where the rule does not apply."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """A rule whose decisions are its fields: a frozen dataclass, None stands for the default."""

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return what can be decided for an operator that the rule applies to."""
        ...


def candidates(default: int, others: Iterable[int]) -> tuple[int, ...]:
    """Return candidates with the default in front, each once."""
    return tuple(dict.fromkeys([default, *others]))


def decided(given: int | None, choices: tuple[int, ...]) -> int:
    """Return a decision that was given, else the default."""
    return choices[0] if given is None else given


def interleave_candidates(channels: int, lanes: int, most: int, min_tasks: int) -> tuple[int, ...]:
    """Return candidates for how many vectors of channels a core carries through time together.

    The default is `most`, or less where that would leave fewer than `min_tasks` tasks for cores to
    share.
    """
    fitting = [count for count in (1, 2, 4, 8) if channels % (lanes * count) == 0] or [1]
    shared = [n for n in fitting if n <= most and channels >= lanes * n * min_tasks]
    return candidates(max(shared, default=1), fitting)


def wide_vectors(extent: int, lanes: int, emit: Callable[[Any, int], None]) -> None:
    """Cover a tile of channels of one token with vectors of up to four registers.

    They use whole cache lines, for a channel's other state elements lie far away, and their sums do
    not wait for each other.
    """
    registers = next(n for n in (4, 2, 1) if extent % (n * lanes) == 0 or n == 1)
    vectors(extent, registers * lanes, emit)


def parallel_channels(
    channels: int, lanes: int, emit: Callable[[Any, int], None], *, parallel: bool = True
) -> None:
    """Emit parallel loops over the vectors of channels and over the scalar rest.

    Parameters
    ----------
    emit : callable
        ``emit(start, lanes)`` emits the code for one vector of channels.
    parallel : bool
        False for serial loops.
    """
    over = T.parallel if parallel else T.serial
    whole, rest = divmod(channels, lanes)
    if whole:
        with over(whole) as vector:
            emit(vector * lanes, lanes)
    if rest:
        with over(rest) as lane:
            emit(whole * lanes + lane, 1)
