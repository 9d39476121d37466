"""C4n weights times many tokens (prefill), from the same repacked weights as the GEMV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile
from schedules.windows import Windows
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare, padded_cols
from tvm_c4n.ops.repack import panel_format
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, aligned_stack, tokens_of

# Candidates for the tokens of a micro-tile.
TOKENS = (2, 3, 4, 6, 8, 12)
# Blocks that even a small matrix is cut into, so that threads can share it.
MIN_BLOCKS = 4


@dataclass(frozen=True)
class C4nGemm:
    """Micro-tiles of panels times tokens, in the order that suits the caches and the gathers.

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
        if not isinstance(spec, LinearSpec) or not spec.prefill or spec.lanes != intrin.lanes:
            return None

        space = self.space(spec, intrin)
        panels = decided(self.panels, space["panels"])
        width = decided(self.tokens, space["tokens"])

        def body() -> None:
            tokens = tokens_of(spec)
            gemm = _Gemm(intrin, spec, declare(spec, tokens), tokens, panels)
            if intrin.repeats_windows and spec.integer and spec.removed:
                gemm.by_block(width)
            else:
                gemm.by_panel(width)

        return Kernel(spec, self.name, body)


@dataclass(frozen=True)
class _Gemm:
    """The loops around the micro-tiles; `panels` at a time are a part of a bundle."""

    intrin: Intrinsics
    spec: LinearSpec
    args: LinearArgs
    tokens: Any
    panels: int

    def by_panel(self, width: int) -> None:
        """Emit loops in which a part of a bundle stays in L1 while all tokens pass."""
        # Step 1: the threads share the parts.
        with T.parallel(self._bundles * self._parts) as part, aligned_stack():
            # Step 2: whole micro-tiles of tokens.
            with T.serial(self.tokens // width) as group:
                self._tile(part, group * width, width)
            # Step 3: the tokens that are left, one by one.
            with T.serial(self.tokens % width) as rest:
                self._tile(part, self.tokens // width * width + rest, 1)

    def by_block(self, width: int) -> None:
        """Emit loops in which the windows of a micro-tile's tokens stay in a cache.

        A block of bundles passes for each group of tokens. Its weights come from L2 each time.
        """
        share = max(n for n in range(1, self._bundles + 1) if _divides(n, self._bundles))
        blocks, groups = self._bundles // share, self.tokens // width
        # Step 1: the threads share blocks and groups; what is left of the tokens is one more group.
        with T.parallel(blocks * (groups + 1)) as index, aligned_stack():
            first, group = index // (groups + 1) * share * self._parts, index % (groups + 1)
            # Step 2: the windows of a whole group, then all parts of the block.
            with T.If(group < groups), T.Then():
                windows = Windows(self.intrin, width, padded_cols(self.spec))
                windows.read(self.args.x, group * width)
                with T.serial(share * self._parts) as part:
                    self._tile(first + part, group * width, width, windows)
            # Step 3: the tokens that are left, one by one.
            left = self.tokens - groups * width
            with T.If(group == groups), T.Then(), T.serial(share * self._parts * left) as each:
                self._tile(first + each // left, groups * width + each % left, 1)

    @property
    def _bundles(self) -> int:
        return panel_format(self.spec).layout.bundles

    @property
    def _parts(self) -> int:
        return panel_format(self.spec).layout.panels // self.panels

    def _tile(self, part: Any, token: Any, count: int, windows: Windows | None = None) -> None:
        bundle, panel = part // self._parts, part % self._parts * self.panels
        tile = MicroTile(bundle, panel, self.panels, token, count)
        emit_linear(self.intrin, self.spec, self.args, tile, windows=windows)


def _divides(share: int, bundles: int) -> bool:
    """Say whether blocks of `share` bundles are alike, and enough of them for threads to share."""
    return share == 1 or (bundles % share == 0 and bundles >= MIN_BLOCKS * share)
