"""Causal convolution: a vector of channels keeps its last inputs in registers while time passes."""

from __future__ import annotations

from typing import Any

from schedules.base import channel_blocks
from schedules.intrin.base import Intrinsics
from tvm_c4n.ops import conv1d
from tvm_c4n.ops.spec import ConvSpec, OpSpec
from tvm_c4n.ops.tir import Kernel, load, local, loop, silu, store, tokens_of


class Conv1d:
    """Channels in vectors (in parallel for prefill), time in sequence."""

    name = "conv1d"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, ConvSpec):
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            x, weight, bias, state, layer, out = conv1d.declare(spec, tokens)

            def block(start: Any, lanes: int) -> None:
                past = [local((lanes,)) for _ in range(spec.width - 1)]
                for j, kept in enumerate(past):
                    store(kept, (), 0, lanes, load(state, (layer, j), start, lanes))
                with loop(tokens) as t:
                    new = load(x, (t,), start, lanes)
                    inputs = [load(kept, (), 0, lanes) for kept in past] + [new]
                    total = load(bias, (), start, lanes)
                    for j, value in enumerate(inputs):
                        total = total + load(weight, (j,), start, lanes) * value
                    store(out, (t,), start, lanes, silu(total, lanes))
                    for kept, value in zip(past, inputs[1:], strict=True):
                        store(kept, (), 0, lanes, value)
                for j, kept in enumerate(past):
                    store(state, (layer, j), start, lanes, load(kept, (), 0, lanes))

            channel_blocks(spec.channels, intrin.lanes, emit=block)

        return Kernel(spec, "conv1d", body)
