"""The choice of experts: tokens in parallel; one token's is one task."""

from __future__ import annotations

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import route
from tvm_c4n.ops.spec import OpSpec, RouteSpec
from tvm_c4n.ops.tir import Kernel, tokens_of


class Route:
    """The plain definition in a parallel loop, so that a region can hold it.

    One token's choice is a few hundred comparisons: to share them would cost more.
    """

    name = "route"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a router's choice."""
        if not isinstance(spec, RouteSpec):
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            args = route.declare(spec, tokens)
            if spec.dynamic:
                with T.parallel(tokens) as t:
                    route.choose(spec, args, t)
                return
            # A loop of one iteration would be simplified away, and its body run by every thread.
            with T.parallel(2) as part, T.If(part == 0), T.Then():
                route.choose(spec, args, 0)

        return Kernel(spec, self.name, body)
