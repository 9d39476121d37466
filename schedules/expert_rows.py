"""Rows of tokens for each of their experts, and the sums of what these give: tokens in parallel."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import expert_groups
from tvm_c4n.ops.spec import MixSpec, OpSpec, SpreadSpec
from tvm_c4n.ops.tir import Kernel, load, splat, store, tokens_of, vectors


class ExpertSpread:
    """Copies of rows."""

    name = "expert_spread"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel that copies rows."""
        if not isinstance(spec, SpreadSpec):
            return None
        lanes = intrin.lanes * (4 if spec.dtype == "int8" else 1)

        def body() -> None:
            tokens = tokens_of(spec)
            x, places, out = expert_groups.declare_spread(spec, tokens)
            with T.parallel(tokens) as t, T.serial(spec.chosen) as j:
                place = T.bind(places[t, j])

                def copy(start: Any, width: int) -> None:
                    store(out, (place,), start, width, load(x, (t,), start, width))

                vectors(spec.cols, lanes, copy)

        return Kernel(spec, self.name, body)


class ExpertMix:
    """Sums of rows, each times a share."""

    name = "expert_mix"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel that adds up rows."""
        if not isinstance(spec, MixSpec):
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            y, places, shares, residual, out = expert_groups.declare_mix(spec, tokens)
            with T.parallel(tokens) as t:

                def add(start: Any, width: int) -> None:
                    total = load(residual, (t,), start, width)
                    for j in range(spec.chosen):
                        share = splat(shares[t, j], width)
                        total = total + share * load(y, (places[t, j],), start, width)
                    store(out, (t,), start, width, total)

                vectors(spec.cols, intrin.lanes, add)

        return Kernel(spec, self.name, body)
