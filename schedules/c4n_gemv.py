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
from tvm_c4n.ops.repack import Prefetching, PrefetchPolicy, panel_format
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, loop


@dataclass(frozen=True)
class C4nGemv:
    """Bundles of rows in parallel, several panels in flight.

    Attributes
    ----------
    panels : int or None
        Panels in flight.
    prefetch_distance : int or None
        Bytes.
    policy : PrefetchPolicy
        Nothing to tune: it depends on the CPU and on what else a step reads. A distance that was
        tuned holds whatever the policy.
    """

    panels: int | None = None
    prefetch_distance: int | None = None
    policy: PrefetchPolicy = PrefetchPolicy.INTO_L2
    name: ClassVar[str] = "c4n_gemv"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the panels in flight and the prefetch distance."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        layout = panel_format(spec).layout
        fitting = [panels for panels in (1, 2, 4) if layout.panels % panels == 0]
        default = default_distance(self.policy, intrin, spec)
        most = min(intrin.for_weights(spec).gemv_panels, layout.panels)
        distances = (0, 2048, 4096, 6144, 8192, 12288, 16384)
        return {
            "panels": candidates(most, fitting),
            "prefetch_distance": candidates(default, distances),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a linear operator of one token whose weights are repacked."""
        if not isinstance(spec, LinearSpec) or spec.dynamic or spec.lanes != intrin.lanes:
            return None

        layout, space = panel_format(spec).layout, self.space(spec, intrin)
        panels = decided(self.panels, space["panels"])
        distance = decided(self.prefetch_distance, space["prefetch_distance"])
        prefetching = Prefetching(distance, self.policy.locality)
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
                    elementwise_args=elementwise_args(spec),
                    declare=lambda: declare(spec, 1),
                    emit=lambda args, start, width: bundles(args, start // rows, width // rows),
                ),
            )

        def body() -> None:
            args = declare(spec, 1)
            with T.parallel(layout.bundles) as bundle:
                bundles(args, bundle, 1)

        return Kernel(spec, self.name, body)


def default_distance(policy: PrefetchPolicy, intrin: Intrinsics, spec: LinearSpec) -> int:
    """Return how many bytes ahead a stream is prefetched where nothing is tuned."""
    if policy is PrefetchPolicy.BY_CPU:
        return 0
    return intrin.prefetch_distance(spec, prod(panel_format(spec).layout.shape))


def elementwise_args(spec: LinearSpec) -> frozenset[int]:
    """Return the arguments after the activations and the weights: bias, residual, out."""
    first = 3 if spec.integer else 2
    return frozenset(range(first, first + spec.bias + spec.residual + 1))
