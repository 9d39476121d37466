"""Integer C4n weights times many tokens, where weights are unpacked once for all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.micro_tile import MicroTile, Output
from schedules.unpacked_panels import UnpackedDots, UnpackedPanels
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare, padded_cols
from tvm_c4n.ops.repack import NO_PREFETCHING, panel_format
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW, IntStream
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, aligned_stack, loop, ramp, tokens_of

# Candidates for the tokens of a micro-tile.
TOKENS = (2, 3, 4, 6, 8, 12)


@dataclass(frozen=True)
class C4nUnpackedGemm:
    """Parts of bundles, unpacked once, stay in L1 while all tokens pass.

    What is left to do for a token is a gather and a dot product for each chunk
    (docs/decisions/avx2.md).

    Attributes
    ----------
    panels, tokens : int or None
        Panels and tokens of a micro-tile.
    """

    panels: int | None = None
    tokens: int | None = None
    name: ClassVar[str] = "c4n_unpacked_gemm"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the panels and tokens of a micro-tile."""
        assert isinstance(spec, LinearSpec)  # noqa: S101 - the rule applies
        in_bundle = panel_format(spec).layout.panels
        assert intrin.unpacked_tile is not None  # noqa: S101 - the rule applies
        panels, tokens = intrin.unpacked_tile
        fitting = [count for count in (1, 2, 4) if in_bundle % count == 0]
        return {
            "panels": candidates(min(panels, in_bundle), fitting),
            "tokens": candidates(tokens, TOKENS),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a linear operator of many tokens whose weights are repacked."""
        if not isinstance(spec, LinearSpec) or not spec.prefill or spec.lanes != intrin.lanes:
            return None
        if intrin.unpacked_tile is None or not spec.integer:
            return None

        space = self.space(spec, intrin)
        panels = decided(self.panels, space["panels"])
        width = decided(self.tokens, space["tokens"])

        def body() -> None:
            tokens, special = tokens_of(spec), intrin.for_weights(spec)
            args, fmt = declare(spec, tokens), panel_format(spec)
            # Step 1: the activations as dot products take them, for all panels.
            if special.prepares_x:
                args = replace(args, x=_prepared(special, args.x, tokens, padded_cols(spec)))
            # Step 2: the threads share the parts, and unpack each once.
            parts = fmt.layout.panels // panels
            with T.parallel(fmt.layout.bundles * parts) as part, aligned_stack():
                bundle, panel = part // parts, part % parts * panels
                stream = fmt.stream(args.weights[0], bundle, panel, NO_PREFETCHING)
                assert isinstance(stream, IntStream)  # noqa: S101 - of integers
                unpacked = UnpackedPanels(special, stream, panels)
                unpacked.fill()

                def multiply(token: Any, count: int) -> None:
                    tile = MicroTile(bundle, panel, panels, token, count)
                    _multiply(special, spec, args, tile, unpacked, stream)

                # Step 3: whole micro-tiles of tokens, then the tokens that are left, one by one.
                with T.serial(tokens // width) as group:
                    multiply(group * width, width)
                with T.serial(tokens % width) as rest:
                    multiply(tokens // width * width + rest, 1)

        return Kernel(spec, self.name, body)


def _prepared(intrin: Intrinsics, x: Any, tokens: Any, cols: int) -> Any:
    """Emit the preparation of all activations; returns the array that has them."""
    lanes = 4 * intrin.lanes
    found = T.alloc_buffer((tokens, cols), "int8", scope="global", layout=None)
    with T.parallel(tokens) as m, T.serial(cols // lanes) as part:
        at = ramp(part * lanes, lanes)
        T.buffer_store(found, intrin.prepare_x(x[m, at]), [m, at])
    return found


def _multiply(
    intrin: Intrinsics,
    spec: LinearSpec,
    args: LinearArgs,
    tile: MicroTile,
    unpacked: UnpackedPanels,
    stream: IntStream,
) -> None:
    """Emit the products of a micro-tile, scaled once per run of columns."""
    fmt, columns = stream.format, unpacked.columns
    out = Output(spec, fmt, args, tile)
    dots = UnpackedDots(intrin, args, tile, out)
    runs, tokens = fmt.layout.kc // columns, [tile.token + m for m in range(tile.tokens)]

    def products(number: Any) -> None:
        """Emit those of a window."""
        start, chunks = number * GATHER_WINDOW, range(fmt.chunks_per_window)
        if fmt.removed:
            # Panel by panel: a token's window is read again, so that registers hold the sums.
            for r in range(tile.panels):
                both = [
                    (unpacked.weight(number, r, k), unpacked.index(number, r, k)) for k in chunks
                ]
                for m, token in enumerate(tokens):
                    window = intrin.plain_window(args.x, token, start)
                    for weight, index in both:
                        dots.add_token(m, r, weight, intrin.gather(window, index))
            return
        for k in chunks:
            weights = [unpacked.weight(number, r, k) for r in range(tile.panels)]
            for m, token in enumerate(tokens):
                quad = intrin.plain_quad(args.x, token, start + 4 * k)
                for r, weight in enumerate(weights):
                    dots.add_token(m, r, weight, quad)

    with T.serial(fmt.layout.k_blocks) as k_block:
        for index in range(runs):
            run = k_block * runs + index
            dots.clear()
            with loop(columns // GATHER_WINDOW) as window:
                products(run * (columns // GATHER_WINDOW) + window)
            dots.flush_run(
                unpacked,
                run,
                run * columns // fmt.scale_group,
                lambda r, i=index: stream.scales(k_block, i * columns // fmt.scale_group, r),
            )
    out.store()
