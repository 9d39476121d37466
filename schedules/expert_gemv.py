"""The GEMV of `schedules.c4n_gemv` on the matrices of the experts that a token chose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from schedules.c4n_gemv import default_distance
from schedules.intrin.base import Intrinsics
from schedules.linear_body import emit_linear
from schedules.micro_tile import MicroTile
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.expert_linear import ExpertArgs, declare
from tvm_c4n.ops.repack import Prefetching, PrefetchPolicy, panel_format
from tvm_c4n.ops.spec import ExpertLinearSpec, LinearSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, aligned_stack, loop, tokens_of


@dataclass(frozen=True)
class ExpertGemv:
    """Bundles of the chosen experts' rows in parallel; what is mixed is added up in one task.

    Where an expert's weights begin is known at run time only. All else is the GEMV of one expert
    and one token, on views of the arguments that begin there.

    Attributes
    ----------
    policy : PrefetchPolicy
        As of `C4nGemv`.
    """

    policy: PrefetchPolicy = PrefetchPolicy.INTO_L2
    name: ClassVar[str] = "expert_gemv"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of experts whose weights are repacked."""
        if not isinstance(spec, ExpertLinearSpec) or spec.lanes != intrin.lanes:
            return None
        gemv = _Gemv(intrin, spec, self.policy)
        layout = panel_format(spec).layout
        rows, matrices = layout.bundle_rows, 1 if spec.mixed else spec.chosen

        # Whole bundles: other kernels can share the loop over them.
        if not spec.prefill and spec.rows % rows == 0:
            first = 3 + spec.integer  # behind the activations, the weights and the choice
            extent = matrices * spec.rows
            return Kernel.of_tiles(
                spec,
                self.name,
                ColumnTiles(
                    extent=extent,
                    multiple=rows,
                    width=rows,
                    elementwise_args=frozenset((first + 1, first + 2) if spec.mixed else (first,)),
                    declare=lambda: declare(spec, tokens_of(spec)),
                    emit=lambda args, start, width: gemv.tiles(args, start // rows, width // rows),
                ),
            )

        def body() -> None:
            tokens = tokens_of(spec)
            args = declare(spec, tokens)
            bundles = matrices * layout.bundles
            with T.parallel(tokens * bundles) as task, aligned_stack():
                gemv.bundle(args, task // bundles, task % bundles)

        return Kernel(spec, self.name, body)


@dataclass(frozen=True)
class _Gemv:
    """Emits bundles of rows of one token's experts."""

    intrin: Intrinsics
    spec: ExpertLinearSpec
    policy: PrefetchPolicy

    def tiles(self, args: ExpertArgs, first: Any, count: int) -> None:
        """Emit bundles that follow each other, of all tokens."""
        with loop(args.out.shape[0] if self.spec.dynamic else 1) as t, loop(count) as index:
            self.bundle(args, t, first + index)

    def bundle(self, args: ExpertArgs, t: Any, number: Any) -> None:
        """Emit one bundle of one token; without mixing they are counted over its experts."""
        spec, bundles = self.spec, panel_format(self.spec).layout.bundles
        if not spec.mixed:
            self._product(args, (t, number // bundles), number % bundles, None)
            return
        # Step 1: the first expert's product, on top of the residual stream.
        self._product(args, (t, 0), number, args.residual)
        # Step 2: the others', on top of what is there.
        if spec.chosen > 1:
            with T.serial(spec.chosen - 1) as j:
                self._product(args, (t, j + 1), number, args.out)

    def _product(
        self, args: ExpertArgs, place: tuple[Any, Any], bundle: Any, residual: Any
    ) -> None:
        """Emit a bundle of the matrix of a token's j-th expert; `place` is (token, j)."""
        spec, (t, j) = self.spec, place
        expert, pair = args.expert(spec, t, j), t * spec.chosen + j
        linear = LinearArgs(args.x, args.x_scales, [], None, residual, args.out, args.share(t, j))
        if spec.mixed:
            scales = None if args.x_scales is None else _by_pair(spec, args.x_scales)
            linear = replace(linear, x=_by_pair(spec, args.x), x_scales=scales)
            token, row = pair, t
        else:
            linear = replace(linear, out=_by_pair(spec, args.out))
            token, row = t, pair

        def product(one: LinearSpec, arrays: list[Any], number: Any) -> None:
            layout, own = panel_format(one).layout, replace(linear, weights=arrays)
            panels = min(self.intrin.gemv_panels, layout.panels)
            distance = default_distance(self.policy, self.intrin, one)
            prefetching = Prefetching(distance, self.policy.locality)
            for panel in range(0, layout.panels, panels):
                before = number * layout.bundles
                tile = MicroTile(bundle, panel, panels, token, 1, before=before, row=row)
                emit_linear(self.intrin, one, own, tile, prefetching)

        args.weights.select(expert, product)


def _by_pair(spec: ExpertLinearSpec, buffer: Any) -> Any:
    """Return a view in which each of a token's vectors for its experts is a row."""
    tokens, width = buffer.shape
    shape = (tokens * spec.chosen, width // spec.chosen)
    return T.decl_buffer(shape, buffer.dtype, data=buffer.data, layout=None)
