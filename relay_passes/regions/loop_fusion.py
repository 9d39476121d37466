"""Which kernels of a region run between two barriers, and which of them share one parallel loop.

A kernel waits for those that it reads from, and for nothing else: projections of one input follow
each other without a barrier, though other kernels stand between them in the model.

A kernel whose column tiles are independent can also follow another one tile by tile, if it reads of
the other's output its own columns only: the convolution after the rows of in_proj that it works on,
the quantisation after the convolution. Then the threads need not wait for each other in between,
and what passes between the two is still in L1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import lcm
from typing import Any

from relay_passes.regions.select import KernelCall
from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import ColumnTiles, bind_arguments


@dataclass(frozen=True)
class FusedLoop:
    """Kernels whose tiles of `width` columns follow each other; 0: one kernel's own loops."""

    calls: tuple[KernelCall, ...]
    width: int = 0

    def emit(self, arguments: Sequence[Sequence[Any]]) -> None:
        """Emit the loop.

        Parameters
        ----------
        arguments : sequence of sequence of Buffer or Var
            For each call what its kernel declares.
        """
        if len(self.calls) == 1:
            self.calls[0].kernel.inline(arguments[0], _tokens(arguments[0]))
            return
        for tiles, done, extent in self._loops(arguments):
            with T.parallel(extent // self.width) as tile:
                start = done + tile * self.width
                # The first kernel's work hides the latency of what the others prefetch.
                for part, values in tiles[1:]:
                    part.prefetch(values, start, self.width)
                for part, values in tiles:
                    part.emit(values, start, self.width)

    def _loops(self, arguments: Sequence[Sequence[Any]]) -> Iterator[tuple[list[Any], int, int]]:
        """Yield for each loop the tiles with their declared arguments, its start and extent."""
        tiles = [_tiles(call) for call in self.calls]
        pairs = zip(tiles, arguments, strict=True)
        declared = [
            (part, bind_arguments(values, part.declare, _tokens(values))) for part, values in pairs
        ]
        for done, end in pairwise([0, *_ends(tiles)]):
            yield [pair for pair in declared if pair[0].extent >= end], done, end - done


# What runs between two barriers: loops that do not depend on each other.
Stage = list[FusedLoop]


def stages(calls: Sequence[KernelCall]) -> list[Stage]:
    """Put the calls of a region, given in order, into stages as early as possible."""
    found: list[Stage] = []
    for index, call in enumerate(calls):
        before = [other for other in calls[:index] if _precedes(other, call)]
        last = _last_stage(found, before)
        if last >= 0 and _join(found[last], call, before):
            continue
        if last + 1 == len(found):
            found.append([])
        found[last + 1].append(FusedLoop((call,)))
    return found


def _precedes(one: KernelCall, call: KernelCall) -> bool:
    """Return whether a call reads what an earlier one makes, or updates what that one reads."""
    made = [var for var in one.outputs if var is not None]
    return _any_same(call.inputs, made) or _any_same(_updated(call), one.inputs)


def _updated(call: KernelCall) -> list[Any]:
    return [call.inputs[place] for place in call.inplace.values()]


def _any_same(values: Sequence[Any], others: Sequence[Any]) -> bool:
    return any(value.same_as(other) for value in values for other in others)


def _last_stage(found: list[Stage], before: list[KernelCall]) -> int:
    """Return the number of the last stage that has one of the calls, -1 where none has."""
    having = (n for n, stage in enumerate(found) if any(_has(loop, before) for loop in stage))
    return max(having, default=-1)


def _has(loop: FusedLoop, calls: list[KernelCall]) -> bool:
    return any(one is other for one in loop.calls for other in calls)


def _join(stage: Stage, call: KernelCall, before: list[KernelCall]) -> bool:
    """Let a call follow those of a stage that it waits for tile by tile, if it can.

    Their loops become one: an MLP's activation follows the rows of two projections.
    """
    own = [loop for loop in stage if _has(loop, before)]
    if any(_any_same(_updated(call), other.inputs) for loop in own for other in loop.calls):
        return False
    joined: FusedLoop | None = own[0]
    for other in [*(one for loop in own[1:] for one in loop.calls), call]:
        joined = joined and _with(joined, other)
    if joined is None:
        return False
    stage[stage.index(own[0])] = joined
    for loop in own[1:]:
        stage.remove(loop)
    return True


def _with(loop: FusedLoop, call: KernelCall) -> FusedLoop | None:
    """Return the loop with one more kernel, None where the kernel must wait for it."""
    calls = (*loop.calls, call)
    found = [c.kernel.tiles for c in calls]
    tiles = [t for t in found if t is not None]
    if len(tiles) < len(found):
        return None
    made = [var for c in loop.calls for var in c.outputs if var is not None]
    for index, value in enumerate(call.inputs):
        if any(value.same_as(var) for var in made) and index not in tiles[-1].elementwise_args:
            return None
    width, ends = _width(tiles), [0, *_ends(tiles)]
    whole = all(t.extent % width == 0 for t in tiles)
    if not whole or tiles[-1].extent > tiles[0].extent:
        return None
    # A loop of one iteration would be simplified away, and its body run by every thread.
    enough = all(end - begin >= 2 * width for begin, end in pairwise(ends))
    return FusedLoop(calls, width) if enough else None


def _ends(tiles: Sequence[ColumnTiles]) -> list[int]:
    """Return where loops end: one for all kernels, then one for those that have more columns.

    Each is split among the threads by itself: in one loop, the threads with the first columns would
    have the work of all kernels, and the others would wait for them.
    """
    return sorted({t.extent for t in tiles})


def _width(tiles: list[ColumnTiles]) -> int:
    """Return the widest tile of a kernel by itself, or the narrowest that all kernels can have."""
    width = max(t.width for t in tiles)
    if all(width % t.multiple == 0 and t.extent % width == 0 for t in tiles):
        return width
    return lcm(*(t.multiple for t in tiles))


def _tokens(arguments: Sequence[Any]) -> Any:
    """Return the number of tokens: the rows of a kernel's last argument, an output."""
    return arguments[-1].shape[0]


def _tiles(call: KernelCall) -> ColumnTiles:
    tiles = call.kernel.tiles
    assert tiles is not None  # noqa: S101  (`_with` saw to it)
    return tiles
