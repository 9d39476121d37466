"""C4n weights of experts times the tokens of each, which lie below each other (prefill)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile
from tvm_c4n._tvm import T
from tvm_c4n.ops.grouped_linear import declare
from tvm_c4n.ops.repack import panel_format
from tvm_c4n.ops.spec import GroupedLinearSpec, LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, aligned_stack, tokens_of


class ExpertGemm:
    """Parts of bundles of an expert in parallel, each in L1 while all of its tokens pass.

    An expert has few tokens, and any number of them: micro-tiles of 2^k, as in a batched step.
    """

    name: ClassVar[str] = "expert_gemm"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of experts whose weights are repacked."""
        if not isinstance(spec, GroupedLinearSpec) or spec.lanes != intrin.lanes:
            return None
        layout = panel_format(spec).layout
        tiles = {
            n: intrin.batch_tile(replace(spec.of(n), dynamic=True), layout.panels)
            for n, _ in spec.by_removed()
        }
        # Tasks are cut alike, whatever n an expert has.
        panels = min(panels for panels, _ in tiles.values())
        parts = layout.panels // panels

        def body() -> None:
            args = declare(spec, tokens_of(spec))

            # Neighbouring tasks are of different experts: threads get alike shares of each.
            with T.parallel(layout.bundles * parts * spec.experts) as task, aligned_stack():
                part, expert = task // spec.experts, task % spec.experts
                first, count = args.rows_of(expert)

                def rows(one: LinearSpec, arrays: list[Any], number: Any) -> None:
                    linear, widest = replace(args.linear, weights=arrays), tiles[one.removed][1]

                    def tile(token: Any, width: int) -> None:
                        bundle, panel = part // parts, part % parts * panels
                        before = number * layout.bundles
                        micro = MicroTile(bundle, panel, panels, token, width, before=before)
                        emit_linear(intrin, replace(one, dynamic=True), linear, micro)

                    with T.serial(count // widest) as group:
                        tile(first + group * widest, widest)
                    width = widest // 2
                    while width:
                        with T.If(count % (2 * width) >= width), T.Then():
                            tile(first + count // (2 * width) * (2 * width), width)
                        width //= 2

                args.weights.select(expert, rows)

        return Kernel(spec, self.name, body)
