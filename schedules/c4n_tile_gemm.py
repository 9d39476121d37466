"""Integer C4n weights times many tokens, on CPUs that multiply pairs of rows by pairs of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from schedules.accumulator import PairDots
from schedules.base import Space, candidates, decided
from schedules.dense_tile import COLS, PAIRS, DenseTile, zipped
from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile, Output
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare
from tvm_c4n.ops.repack import NO_PREFETCHING, panel_format
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, IntStream
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, aligned_stack, loop, ramp, tokens_of

# Candidates for the tokens of a micro-tile.
TOKENS = (2, 4, 6, 8)
# To unpack the weights takes as long as to multiply them by some ten tokens.
LEAST_TOKENS = 12


@dataclass(frozen=True)
class C4nTileGemm:
    """Parts of bundles, unpacked once for all tokens: removed weights are multiplied as zeros.

    An instruction multiplies twice as many of these as a dot product of gathered ones does, and
    needs no gather (docs/decisions/arm-prefill.md).

    Attributes
    ----------
    panels, tokens : int or None
        Panels and tokens of a micro-tile.
    """

    panels: int | None = None
    tokens: int | None = None
    name: ClassVar[str] = "c4n_tile_gemm"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the panels and tokens of a micro-tile."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        in_bundle = panel_format(spec).layout.panels
        panels, tokens = intrin.pair_tile
        fitting = [count for count in (1, 2, 4) if in_bundle % count == 0]
        return {
            "panels": candidates(min(panels, in_bundle), fitting),
            "tokens": candidates(tokens, TOKENS),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a linear operator of many tokens whose weights are repacked."""
        if not isinstance(spec, LinearSpec) or not spec.prefill or spec.lanes != intrin.lanes:
            return None
        if not intrin.multiplies_pairs or not spec.integer:
            return None

        space = self.space(spec, intrin)
        panels = decided(self.panels, space["panels"])
        width = decided(self.tokens, space["tokens"])

        def body() -> None:
            tokens = tokens_of(spec)
            args, fmt = declare(spec, tokens), panel_format(spec)
            parts = fmt.layout.panels // panels
            # Step 1: the threads share the parts.
            with T.parallel(fmt.layout.bundles * parts) as part, aligned_stack():
                bundle, panel = part // parts, part % parts * panels

                def place(token: Any, count: int) -> MicroTile:
                    return MicroTile(bundle, panel, panels, token, count)

                # Step 2: whole micro-tiles of tokens, for which a part is unpacked where it pays.
                with T.If(tokens >= LEAST_TOKENS):
                    with T.Then():
                        stream = fmt.stream(args.weights[0], bundle, panel, NO_PREFETCHING)
                        assert isinstance(stream, IntStream)  # noqa: S101 - of integers
                        special = intrin.for_weights(spec)
                        dense = DenseTile(special, stream, panels)
                        dense.fill()
                        with T.serial(tokens // width) as group:
                            tile = place(group * width, width)
                            _multiply(special, spec, args, tile, dense, stream)
                    with T.Else(), T.serial(tokens // width) as group:
                        emit_linear(intrin, spec, args, place(group * width, width))
                # Step 3: the tokens that are left, one by one.
                with T.serial(tokens % width) as rest:
                    emit_linear(intrin, spec, args, place(tokens // width * width + rest, 1))

        return Kernel(spec, self.name, body)


def _multiply(
    intrin: Intrinsics,
    spec: LinearSpec,
    args: LinearArgs,
    tile: MicroTile,
    dense: DenseTile,
    stream: IntStream,
) -> None:
    """Emit the products of a micro-tile, scaled once per scale group."""
    fmt = stream.format
    out = Output(spec, fmt, args, tile)
    dots = PairDots(intrin, args, tile, out)
    groups = fmt.layout.kc // fmt.scale_group

    def scale_group(k_block: Any, index: int) -> None:
        first = k_block * fmt.layout.kc + index * fmt.scale_group
        dots.clear()
        # Step 1: the products of sixteen columns, of all pairs of tokens and of rows.
        with loop(fmt.scale_group // GATHER_WINDOW) as window:
            column = first + window * GATHER_WINDOW
            at = ramp(column, GATHER_WINDOW)
            rows = [T.bind(args.x[tile.token + m, at]) for m in range(tile.tokens)]
            for half in range(GATHER_WINDOW // COLS):
                pairs = [
                    zipped(rows[m], rows[m + 1], "int64x2", half) for m in range(0, tile.tokens, 2)
                ]
                for r in range(tile.panels):
                    for number in range(PAIRS):
                        weights = dense.pair(column + half * COLS, r, number)
                        dots.add_pairs(r, number, weights, pairs)
        # Step 2: the scales.
        output_scale = intrin.output_scale(spec.dtype)
        group = k_block * groups + index
        dots.flush(group, output_scale, lambda r: stream.scales(k_block, index, r))

    with T.serial(fmt.layout.k_blocks) as k_block:
        for index in range(groups):
            scale_group(k_block, index)
    out.store()
