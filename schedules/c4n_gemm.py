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
        in_bundle = panel_format(spec).layout.panels
        panels, tokens = intrin.micro_tile(spec, in_bundle)
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
