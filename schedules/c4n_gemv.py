"""C4n weights times one token: the kernel that a decode step spends its time in."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare
from tvm_c4n.ops.repack import Prefetching, panel_format
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, loop

# Panels in flight: enough independent sums to hide the latency of the dot product.
PANELS = {"avx512": 4, "avx2": 4, "neon": 4, "portable": 1}
# Bytes between what is prefetched (into L2) and what is read. On ARM it was never measured, and
# stays off. docs/decisions/prefetching.md has the figures of all these constants.
PREFETCH_BYTES = {"avx512": 4096, "avx2": 4096, "neon": 0, "portable": 0}
# Where a dtype is faster with another distance.
PREFETCH_BYTES_BY_DTYPE = {("avx512", "int4"): 6144, ("avx512", "int8"): 12288}
# Streams of fewer distances than this keep that of `PREFETCH_BYTES`: threads split the stream, and
# prefetching past a split fetches another thread's data.
LONG_STREAM_DISTANCES = 16


@dataclass(frozen=True)
class ShortStream:
    """Streams below `size_bytes` are prefetched at `distance`, for they may still be in a cache."""

    size_bytes: int
    distance: int


# By instruction set and whether weights are integers.
SHORT_STREAMS = {
    ("avx512", True): ShortStream(56 << 10, 2048),
    ("avx512", False): ShortStream(96 << 10, 0),
}


@dataclass(frozen=True)
class C4nGemv:
    """Bundles of rows in parallel, several panels in flight.

    Attributes
    ----------
    panels : int or None
        Panels in flight.
    prefetch_distance : int or None
        Bytes.
    non_temporal : bool
        Prefetch so that no cache keeps the weights. Nothing to tune: it depends on what else a step
        reads.
    """

    panels: int | None = None
    prefetch_distance: int | None = None
    non_temporal: bool = False
    name: ClassVar[str] = "c4n_gemv"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the panels in flight and the prefetch distance."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        in_bundle, isa = panel_format(spec).layout.panels, intrin.isa.name
        fitting = [panels for panels in (1, 2, 4) if in_bundle % panels == 0]
        distances = (0, 2048, 4096, 6144, 8192, 12288, 16384)
        return {
            "panels": candidates(min(PANELS[isa], in_bundle), fitting),
            "prefetch_distance": candidates(_prefetch_distance(spec, isa), distances),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a linear operator of one token whose weights are repacked."""
        if not isinstance(spec, LinearSpec) or spec.dynamic or spec.lanes != intrin.lanes:
            return None

        layout, space = panel_format(spec).layout, self.space(spec, intrin)
        panels = decided(self.panels, space["panels"])
        distance = decided(self.prefetch_distance, space["prefetch_distance"])
        prefetching = Prefetching(distance, self.non_temporal)
        rows = layout.bundle_rows

        def bundles(args: LinearArgs, first: Any, count: int) -> None:
            with loop(count) as index:
                for panel in range(0, layout.panels, panels):
                    tile = MicroTile(first + index, panel, panels, 0, 1)
                    emit_linear(intrin, spec, args, tile, prefetching)

        # Whole bundles: other kernels can share the loop over them.
        if spec.rows % rows == 0:
            return Kernel.of_tiles(
                spec,
                self.name,
                ColumnTiles(
                    extent=spec.rows,
                    multiple=rows,
                    width=rows,
                    elementwise_args=_elementwise_args(spec),
                    declare=lambda: declare(spec, 1),
                    emit=lambda args, start, width: bundles(args, start // rows, width // rows),
                ),
            )

        def body() -> None:
            args = declare(spec, 1)
            with T.parallel(layout.bundles) as bundle:
                bundles(args, bundle, 1)

        return Kernel(spec, self.name, body)


def _prefetch_distance(spec: LinearSpec, isa: str) -> int:
    """Return the default distance of an operator's weights."""
    size_bytes = prod(panel_format(spec).layout.shape)
    short = SHORT_STREAMS.get((isa, spec.integer))
    if short is not None and size_bytes < short.size_bytes:
        return short.distance
    distance = PREFETCH_BYTES_BY_DTYPE.get((isa, spec.dtype), PREFETCH_BYTES[isa])
    return PREFETCH_BYTES[isa] if size_bytes < LONG_STREAM_DISTANCES * distance else distance


def _elementwise_args(spec: LinearSpec) -> frozenset[int]:
    """Return the arguments after the activations and the weights: bias, residual, out."""
    first = 3 if spec.integer else 2
    return frozenset(range(first, first + spec.bias + spec.residual + 1))
