"""Which kernels of a region can share one parallel loop.

A kernel made of independent blocks of columns can follow another one block by block, if it reads of
the other's output its own columns only: the convolution after the rows of in_proj that it works on,
the quantisation after the convolution. Then the threads need not wait for each other in between,
and what passes between the two is still in the first cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import lcm
from typing import Any, Generic, Protocol, TypeVar

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import ColumnTiles, Kernel, bind_arguments


class Stage(Protocol):
    """One kernel of a region."""

    @property
    def kernel(self) -> Kernel:
        """Its code."""
        ...

    @property
    def inputs(self) -> list[Any]:
        """Relax expressions, in the order of the kernel's arguments."""
        ...

    @property
    def outputs(self) -> list[Any]:
        """Relax variables; None where nothing uses an output."""
        ...


S = TypeVar("S", bound=Stage)


@dataclass(frozen=True)
class FusedLoop(Generic[S]):
    """Stages whose blocks of `width` columns follow each other; 0: a kernel's own loops."""

    stages: tuple[S, ...]
    width: int = 0

    def emit(self, arguments: Sequence[Sequence[Any]]) -> None:
        """Emit the loop.

        Parameters
        ----------
        arguments : sequence of sequence of Buffer or Var
            For each stage what its kernel declares.
        """
        if len(self.stages) == 1:
            self.stages[0].kernel.inline(arguments[0])
            return
        for here, done, extent in self._loops(arguments):
            with T.parallel(extent // self.width) as block:
                start = done + block * self.width
                for part, values in here[1:]:
                    part.prefetch(values, start, self.width)
                for part, values in here:
                    part.emit(values, start, self.width)

    def _loops(self, arguments: Sequence[Sequence[Any]]) -> Iterator[tuple[list[Any], int, int]]:
        """Yield for each loop the stages with their declared arguments, its start and extent."""
        parts = [_columns(stage) for stage in self.stages]
        pairs = zip(parts, arguments, strict=True)
        declared = [(part, bind_arguments(values, part.declare)) for part, values in pairs]
        for done, end in pairwise([0, *_ends(parts)]):
            yield [pair for pair in declared if pair[0].extent >= end], done, end - done


def fuse_loops(stages: Sequence[S]) -> list[FusedLoop[S]]:
    """Split the stages of a region, in order, into loops as long as possible."""
    loops: list[FusedLoop[S]] = []
    for stage in stages:
        together = loops and _joined(loops[-1], stage)
        if together:
            loops[-1] = together
        else:
            loops.append(FusedLoop((stage,)))
    return loops


def _joined(loop: FusedLoop[S], stage: S) -> FusedLoop[S] | None:
    """Return the loop with one more stage, None where the stage must wait for it."""
    stages = (*loop.stages, stage)
    found = [s.kernel.tiles for s in stages]
    columns = [c for c in found if c is not None]
    if len(columns) < len(found):
        return None
    made = [var for s in loop.stages for var in s.outputs if var is not None]
    for index, value in enumerate(stage.inputs):
        if any(value.same_as(var) for var in made) and index not in columns[-1].elementwise_args:
            return None
    width, ends = _width(columns), [0, *_ends(columns)]
    whole = all(c.extent % width == 0 for c in columns)
    if not whole or columns[-1].extent > columns[0].extent:
        return None
    # A loop of one turn would be simplified away, and its body run by every thread.
    enough = all(end - begin >= 2 * width for begin, end in pairwise(ends))
    return FusedLoop(stages, width) if enough else None


def _ends(columns: Sequence[ColumnTiles]) -> list[int]:
    """Return where loops end: one for all stages, then one for those that have more columns.

    Each is split among the threads by itself: in one loop, the threads with the first columns would
    have the work of all stages, and the others would wait for them.
    """
    return sorted({c.extent for c in columns})


def _width(columns: list[ColumnTiles]) -> int:
    """Return the largest block that a stage asks for, or the smallest that all can have."""
    width = max(c.width for c in columns)
    if all(width % c.multiple == 0 and c.extent % width == 0 for c in columns):
        return width
    return lcm(*(c.multiple for c in columns))


def _columns(stage: Stage) -> ColumnTiles:
    columns = stage.kernel.tiles
    assert columns is not None  # noqa: S101  (`_joined` saw to it)
    return columns
