"""C4n weights times one token: the kernel that a decode step spends its time in."""

from __future__ import annotations

from schedules.intrin.base import Intrinsics
from schedules.linear_body import Block, LinearBody
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import declare
from tvm_c4n.ops.packed import layout_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel

TILES = {"avx512": 4, "avx2": 4, "neon": 4, "portable": 1}
"""Row tiles in flight: enough independent sums to hide the latency of the dot product."""
AHEAD = {"avx512": 8192, "avx2": 8192, "neon": 0, "portable": 0}
"""Bytes of prefetching, into the second cache. On x86 it makes decode a third faster; on ARM it was
never measured, and stays off."""


class C4nGemv:
    """Blocks of rows in parallel, several row tiles in flight."""

    name = "c4n_gemv"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, LinearSpec) or spec.dynamic or spec.lanes != intrin.lanes:
            return None

        def body() -> None:
            args = declare(spec, 1)
            layout = layout_of(spec)
            tiles = min(TILES[intrin.isa.name], layout.tiles)
            ahead = AHEAD[intrin.isa.name]
            with T.parallel(layout.blocks) as index:
                for tile in range(0, layout.tiles, tiles):
                    block = Block(index, tile, tiles, 0, 1, ahead)
                    LinearBody(intrin, spec, args, block).emit()

        return Kernel(spec, "c4n_gemv", body)
