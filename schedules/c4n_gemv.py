"""C4n weights times one token: the kernel that a decode step spends its time in."""

from __future__ import annotations

from schedules.intrin.base import Intrinsics
from schedules.linear_body import Block, LinearBody
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import declare
from tvm_c4n.ops.packed import tiles_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel

TILES = {"avx512": 4, "avx2": 4, "neon": 4, "portable": 1}
"""Row tiles in flight: enough independent sums to hide the latency of the dot product."""
BLOCKS = 8
"""Blocks that even a small matrix is cut into, with fewer tiles in flight: cores can share it."""


class C4nGemv:
    """Rows in parallel, several row tiles in flight."""

    name = "c4n_gemv"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, LinearSpec) or spec.dynamic or spec.lanes != intrin.lanes:
            return None

        def body() -> None:
            args = declare(spec, 1)
            tiles = max(1, min(TILES[intrin.isa.name], tiles_of(spec) // BLOCKS))
            blocks = -(-tiles_of(spec) // tiles)
            with T.parallel(blocks) as index:
                # The last block steps back so that it is whole; it computes some rows again.
                first = T.min(index * tiles, tiles_of(spec) - tiles)
                LinearBody(intrin, spec, args, Block(first, tiles, 0, 1)).emit()

        return Kernel(spec, "c4n_gemv", body)
