"""Rotary position embeddings: tokens in parallel. One takes a microsecond, for all layers."""

from __future__ import annotations

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import rotary
from tvm_c4n.ops.spec import OpSpec, RotarySpec
from tvm_c4n.ops.tir import Kernel, loop, tokens_of


class Rotary:
    """Cosines and sines by libm, exact for angles of any size."""

    name = "rotary"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of rotations."""
        if not isinstance(spec, RotarySpec):
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            args = rotary.declare(spec, tokens)
            # A batch has few: not worth a launch.
            count = rotary.turned(args, tokens)
            with loop(count, parallel=not spec.batched) as t, T.serial(spec.rotary // 2) as i:
                rotary.turn(spec, args, t, i)

        return Kernel(spec, self.name, body)
