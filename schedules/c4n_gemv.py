"""C4n weights times one token: the kernel that a decode step spends its time in."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.linear_body import Block, LinearBody
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare
from tvm_c4n.ops.repack import layout_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, loop

TILES = {"avx512": 4, "avx2": 4, "neon": 4, "portable": 1}
"""Row tiles in flight: enough independent sums to hide the latency of the dot product."""
AHEAD = {"avx512": 4096, "avx2": 4096, "neon": 0, "portable": 0}
"""Bytes of prefetching, into the second cache. On ARM it was never measured, and stays off."""
AHEAD_BY_DTYPE = {("avx512", "int4"): 6144, ("avx512", "int8"): 12288}
"""Where a dtype wants another distance: docs/decisions/prefetching.md has the figures."""
SHORT = 16
"""A stream shorter than so many distances keeps that of `AHEAD`: each thread has a piece of it, and
what lies behind its end is another's."""
TINY = {("avx512", True): (56 << 10, 2048), ("avx512", False): (96 << 10, 0)}
"""By instruction set and whether weights are integers: bytes below which a stream has another
distance, and that distance."""


@dataclass(frozen=True)
class C4nGemv:
    """Blocks of rows in parallel, several row tiles in flight.

    Attributes
    ----------
    tiles : int or None
        Row tiles in flight.
    ahead : int or None
        Bytes of prefetching.
    non_temporal : bool
        Prefetch so that no cache keeps the weights. Nothing to tune: it depends on what else a step
        reads.
    """

    tiles: int | None = None
    ahead: int | None = None
    non_temporal: bool = False
    name: ClassVar[str] = "c4n_gemv"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """See `schedules.base.Tunable`."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        whole, isa = layout_of(spec).tiles, intrin.isa.name
        fitting = [tiles for tiles in (1, 2, 4) if whole % tiles == 0]
        return {
            "tiles": candidates(min(TILES[isa], whole), fitting),
            "ahead": candidates(_ahead(spec, isa), (0, 2048, 4096, 6144, 8192, 12288, 16384)),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, LinearSpec) or spec.dynamic or spec.lanes != intrin.lanes:
            return None

        layout, space = layout_of(spec), self.space(spec, intrin)
        tiles = decided(self.tiles, space["tiles"])
        ahead = decided(self.ahead, space["ahead"])
        rows = layout.tiles * layout.lanes

        def blocks(args: LinearArgs, first: Any, count: int) -> None:
            with loop(count) as index:
                for tile in range(0, layout.tiles, tiles):
                    block = Block(first + index, tile, tiles, 0, 1, ahead, self.non_temporal)
                    LinearBody(intrin, spec, args, block).emit()

        if spec.rows % rows == 0:
            return Kernel.of_tiles(
                spec,
                "c4n_gemv",
                ColumnTiles(
                    extent=spec.rows,
                    multiple=rows,
                    width=rows,
                    elementwise_args=_own(spec),
                    declare=lambda: declare(spec, 1),
                    emit=lambda args, start, width: blocks(args, start // rows, width // rows),
                ),
            )

        def body() -> None:
            args = declare(spec, 1)
            with T.parallel(layout.blocks) as block:
                blocks(args, block, 1)

        return Kernel(spec, "c4n_gemv", body)


def _ahead(spec: LinearSpec, isa: str) -> int:
    size_bytes = prod(layout_of(spec).shape)
    tiny_bytes, tiny_ahead = TINY.get((isa, spec.integer), (0, 0))
    if size_bytes < tiny_bytes:
        return tiny_ahead
    ahead = AHEAD_BY_DTYPE.get((isa, spec.dtype), AHEAD[isa])
    return AHEAD[isa] if size_bytes < SHORT * ahead else ahead


def _own(spec: LinearSpec) -> frozenset[int]:
    """Return the arguments behind the activations and the weights: bias, residual, out."""
    first = 3 if spec.integer else 2
    return frozenset(range(first, first + spec.bias + spec.residual + 1))
