"""C4n weights times the tokens of a batched decode step: few, and each panel is read once."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from schedules.c4n_gemv import elementwise_args
from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare
from tvm_c4n.ops.repack import Prefetching, panel_format
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, aligned_stack, loop, tokens_of


class C4nBatchGemm:
    """Bundles of rows in parallel, as in a GEMV; micro-tiles of 2^k tokens, as in a GEMM.

    A batch of any size is a sum of such micro-tiles; one of 2^k tokens is one micro-tile, or a few
    of the widest. Its rows stay in L1 while all tokens pass.
    """

    name: ClassVar[str] = "c4n_batch_gemm"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a linear operator of a batch whose weights are repacked."""
        if not isinstance(spec, LinearSpec) or not spec.batched or spec.lanes != intrin.lanes:
            return None

        layout = panel_format(spec).layout
        panels, widest = intrin.batch_tile(spec, layout.panels)
        # A bundle ahead: what a micro-tile reads of one lies in pieces, which CPUs do not foresee.
        prefetching = Prefetching(prod(layout.shape[1:]))
        rows = layout.bundle_rows

        def bundles(args: LinearArgs, first: Any, count: int) -> None:
            tokens = args.out.shape[0]

            def tiles(bundle: Any, token: Any, width: int) -> None:
                # One token has as many panels in flight as in a step.
                most = panels if width > 1 else max(panels, intrin.gemv_panels)
                height = min(most, layout.panels)
                with loop(layout.panels // height) as part:
                    place = MicroTile(bundle, part * height, height, token, width)
                    emit_linear(intrin, spec, args, place, prefetching)

            with loop(count) as index:
                bundle, width = first + index, widest // 2
                with T.serial(tokens // widest) as group:
                    tiles(bundle, group * widest, widest)
                while width:
                    with T.If(tokens % (2 * width) >= width), T.Then():
                        tiles(bundle, tokens // (2 * width) * (2 * width), width)
                    width //= 2

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
                    declare=lambda: declare(spec, tokens_of(spec)),
                    emit=lambda args, start, width: bundles(args, start // rows, width // rows),
                ),
            )

        def body() -> None:
            args = declare(spec, tokens_of(spec))
            with T.parallel(layout.bundles) as bundle, aligned_stack():
                bundles(args, bundle, 1)

        return Kernel(spec, self.name, body)
