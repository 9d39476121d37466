"""C4n weights times many tokens (prefill), from the same packed weights as the GEMV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.linear_body import Block, LinearBody
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import declare
from tvm_c4n.ops.repack import layout_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, aligned_stack, tokens_of

SHAPE = {"avx512": (1, 8), "avx2": (1, 6), "neon": (2, 6), "portable": (1, 2)}
"""Row tiles and tokens in flight: their sums must fit the vector registers."""
SHAPE_OF: dict[tuple[str, str], tuple[int, int]] = {
    ("avx2", "int4"): (2, 8),
    ("avx2", "float16"): (2, 4),
    ("avx2", "float32"): (2, 4),
}
"""Where a dtype has another shape. Sums of int4 products take half a register with AVX2, and
unpacking four bits pays the more tokens share it; a float product loads two operands, of which a
square block loads fewest."""
SHAPE_OF_REMOVED = {
    ("avx512", "int8", 0): (4, 4),
    ("avx512", "int4", 0): (4, 4),
    ("avx512", "float16", 0): (2, 8),
    ("avx512", "float32", 0): (2, 8),
}
"""Where so many removed weights want another one: with none, each token has four vectors of
activations at a time instead of one."""
TOKENS = (2, 3, 4, 6, 8, 12)
"""Candidates."""


@dataclass(frozen=True)
class C4nGemm:
    """Rows in parallel; the rows in flight stay in the first cache while all tokens pass.

    Attributes
    ----------
    tiles, tokens : int or None
        Row tiles and tokens in flight.
    """

    tiles: int | None = None
    tokens: int | None = None
    name: ClassVar[str] = "c4n_gemm"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """See `schedules.base.Tunable`."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        whole = layout_of(spec).tiles
        isa = intrin.isa.name
        tiles, tokens = SHAPE_OF.get((isa, spec.dtype), SHAPE[isa])
        by_removed = SHAPE_OF_REMOVED.get((isa, spec.dtype, spec.removed))
        if by_removed is not None:
            tiles, tokens = by_removed
            # Tiles that a narrow block lacks leave registers for more tokens.
            tokens = min(max(TOKENS), tokens * tiles // min(tiles, whole))
        fitting = [count for count in (1, 2, 4) if whole % count == 0]
        return {
            "tiles": candidates(min(tiles, whole), fitting),
            "tokens": candidates(tokens, TOKENS),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, LinearSpec) or not spec.dynamic or spec.lanes != intrin.lanes:
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            args = declare(spec, tokens)
            layout = layout_of(spec)
            space = self.space(spec, intrin)
            tiles = decided(self.tiles, space["tiles"])
            width = decided(self.tokens, space["tokens"])
            parts = layout.tiles // tiles
            with T.parallel(layout.blocks * parts) as index, aligned_stack():
                block, tile = index // parts, index % parts * tiles
                with T.serial(tokens // width) as group:
                    together = Block(block, tile, tiles, group * width, width)
                    LinearBody(intrin, spec, args, together).emit()
                with T.serial(tokens % width) as rest:
                    single = Block(block, tile, tiles, tokens // width * width + rest, 1)
                    LinearBody(intrin, spec, args, single).emit()

        return Kernel(spec, "c4n_gemm", body)
