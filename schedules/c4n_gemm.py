"""C4n weights times many tokens (prefill), from the same repacked weights as the GEMV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import declare
from tvm_c4n.ops.repack import panel_format
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, aligned_stack, tokens_of

# Panels and tokens of a micro-tile: their sums must fit the vector registers. The figures of all
# these constants are in docs/decisions/prefill-gemm.md.
MICRO_TILE = {"avx512": (1, 8), "avx2": (1, 6), "neon": (2, 6), "portable": (1, 2)}
# Where a dtype has another shape. Sums of int4 products take half a register with AVX2, and
# unpacking four bits pays the more tokens share it; a float product loads two operands, of which a
# square micro-tile loads fewest.
MICRO_TILE_BY_DTYPE: dict[tuple[str, str], tuple[int, int]] = {
    ("avx2", "int4"): (2, 8),
    ("avx2", "float16"): (2, 4),
    ("avx2", "float32"): (2, 4),
}
# Where a dtype has another shape for this many removed weights. With none removed, each token has
# four vectors of activations at a time instead of one.
MICRO_TILE_BY_REMOVED = {
    ("avx512", "int8", 0): (4, 4),
    ("avx512", "int4", 0): (4, 4),
    ("avx512", "float16", 0): (2, 8),
    ("avx512", "float32", 0): (2, 8),
}
# Candidates for the tokens of a micro-tile.
TOKENS = (2, 3, 4, 6, 8, 12)


@dataclass(frozen=True)
class C4nGemm:
    """Rows in parallel; the rows in flight stay in L1 while all tokens pass.

    Attributes
    ----------
    panels, tokens : int or None
        Panels and tokens of a micro-tile.
    """

    panels: int | None = None
    tokens: int | None = None
    name: ClassVar[str] = "c4n_gemm"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the panels and tokens of a micro-tile."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        in_bundle, isa = panel_format(spec).layout.panels, intrin.isa.name
        panels, tokens = MICRO_TILE_BY_DTYPE.get((isa, spec.dtype), MICRO_TILE[isa])
        by_removed = MICRO_TILE_BY_REMOVED.get((isa, spec.dtype, spec.removed))
        if by_removed is not None:
            panels, tokens = by_removed
            # Panels that a narrow bundle lacks leave registers for more tokens.
            tokens = min(max(TOKENS), tokens * panels // min(panels, in_bundle))
        fitting = [count for count in (1, 2, 4) if in_bundle % count == 0]
        return {
            "panels": candidates(min(panels, in_bundle), fitting),
            "tokens": candidates(tokens, TOKENS),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a linear operator of many tokens whose weights are repacked."""
        if not isinstance(spec, LinearSpec) or not spec.dynamic or spec.lanes != intrin.lanes:
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            args = declare(spec, tokens)
            layout, space = panel_format(spec).layout, self.space(spec, intrin)
            panels = decided(self.panels, space["panels"])
            width = decided(self.tokens, space["tokens"])
            parts = layout.panels // panels
            # Step 1: the threads share the panels, `panels` at a time.
            with T.parallel(layout.bundles * parts) as index, aligned_stack():
                bundle, panel = index // parts, index % parts * panels
                # Step 2: whole micro-tiles of tokens.
                with T.serial(tokens // width) as group:
                    tile = MicroTile(bundle, panel, panels, group * width, width)
                    emit_linear(intrin, spec, args, tile)
                # Step 3: the tokens that are left, one by one.
                with T.serial(tokens % width) as rest:
                    token = tokens // width * width + rest
                    emit_linear(intrin, spec, args, MicroTile(bundle, panel, panels, token, 1))

        return Kernel(spec, self.name, body)
