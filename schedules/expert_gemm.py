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
from tvm_c4n.ops.spec import GroupedLinearSpec, OpSpec
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
        one, layout = replace(spec.one, dynamic=True), panel_format(spec).layout
        panels, widest = intrin.batch_tile(one, layout.panels)
        parts = layout.panels // panels

        def body() -> None:
            args = declare(spec, tokens_of(spec))

            def tile(place: tuple[Any, Any], token: Any, width: int) -> None:
                part, expert = place
                bundle, panel = part // parts, part % parts * panels
                before = expert * layout.bundles
                emit_linear(
                    intrin,
                    one,
                    args.linear,
                    MicroTile(bundle, panel, panels, token, width, before=before),
                )

            # Neighbouring tasks are of different experts: threads get alike shares of each.
            with T.parallel(layout.bundles * parts * spec.experts) as task, aligned_stack():
                place, width = (task // spec.experts, task % spec.experts), widest // 2
                first, count = args.rows_of(place[1])
                with T.serial(count // widest) as group:
                    tile(place, first + group * widest, widest)
                while width:
                    with T.If(count % (2 * width) >= width), T.Then():
                        tile(place, first + count // (2 * width) * (2 * width), width)
                    width //= 2

        return Kernel(spec, self.name, body)
