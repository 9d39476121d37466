"""Causal convolution: a vector of channels keeps its last inputs in registers while time passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from schedules.base import (
    Space,
    decided,
    interleave_candidates,
    parallel_channels,
    wide_vectors,
)
from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import conv1d
from tvm_c4n.ops.slots import sequences
from tvm_c4n.ops.spec import ConvSpec, OpSpec
from tvm_c4n.ops.tir import (
    ColumnTiles,
    Kernel,
    load,
    local,
    loop,
    no_prefetch,
    prefetch_floats,
    silu,
    store,
    tokens_of,
)

# Tasks that are left for cores to share, at least.
MIN_TASKS = 16


@dataclass(frozen=True)
class Conv1d:
    """Channels in vectors (in parallel for prefill), time in sequence.

    Attributes
    ----------
    vectors : int or None
        Vectors of channels that a core interleaves, in prefill. One token leaves nothing to decide:
        see `wide_vectors`.
    """

    vectors: int | None = None
    name: ClassVar[str] = "conv1d"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the vectors that a core interleaves in prefill."""
        assert isinstance(spec, ConvSpec)  # noqa: S101 - the rule applies
        if not spec.prefill:
            return {}
        most = intrin.conv_vectors
        return {"vectors": interleave_candidates(spec.channels, intrin.lanes, most, MIN_TASKS)}

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a convolution."""
        if not isinstance(spec, ConvSpec):
            return None

        lanes, n = intrin.lanes, spec.channels
        if not spec.prefill and n % lanes == 0:
            prefetches = intrin.prefetches_rows
            return Kernel.of_tiles(
                spec,
                self.name,
                ColumnTiles(
                    extent=n,
                    multiple=lanes,
                    width=lanes,
                    # A tile reads other columns of x where the channels begin further right, and
                    # those of gates.
                    elementwise_args=frozenset(
                        (1, 2, 3, 5) if spec.first or spec.gated else (0, 1, 2, 3, 5)
                    ),
                    declare=lambda: conv1d.declare(spec, tokens_of(spec)),
                    emit=lambda args, start, width: wide_vectors(
                        width, lanes, lambda at, count: _channels(spec, args, start + at, count)
                    ),
                    prefetch=partial(_prefetch, spec) if prefetches else no_prefetch,
                ),
            )

        def body() -> None:
            args = conv1d.declare(spec, tokens_of(spec))
            space = self.space(spec, intrin)
            interleave = decided(self.vectors, space["vectors"]) if space else 1
            parallel_channels(
                n, lanes * interleave, lambda start, width: _channels(spec, args, start, width)
            )

        return Kernel(spec, self.name, body)


def _prefetch(spec: ConvSpec, args: tuple[Any, ...], start: Any, width: int) -> None:
    """Prefetch what a tile of channels reads of the past and of weights, all in rows far apart."""
    _, weight, bias, state, index, _ = args
    for j in range(spec.width):
        prefetch_floats(weight, (j,), start, width)
    prefetch_floats(bias, (), start, width)
    with loop(sequences(index.slots)[0]) as s:
        for j in range(spec.width - 1):
            prefetch_floats(state, (*index(s), j), start, width)


def _channels(spec: ConvSpec, args: tuple[Any, ...], start: Any, lanes: int) -> None:
    """Emit all tokens of a vector of channels."""
    x, weight, bias, state, index, out = args
    texts, length = sequences(index.slots, out.shape[0] if spec.dynamic else 1)
    past = [local((lanes,)) for _ in range(spec.width - 1)]
    b, c, first = conv1d.columns(spec)
    with loop(texts) as s:
        outer = index(s)
        # Step 1: the last inputs of the tokens before, into registers.
        for j, kept in enumerate(past):
            store(kept, (), 0, lanes, load(state, (*outer, j), start, lanes))
        with loop(length) as at:
            # Step 2: the taps times these and the new input, then SiLU or the gate.
            t = s + at
            new = load(x, (t,), first + start, lanes)
            if spec.gated:
                new = T.bind(new * load(x, (t,), b + start, lanes))
            inputs = [load(kept, (), 0, lanes) for kept in past] + [new]
            total = load(bias, (), start, lanes)
            for j, value in enumerate(inputs):
                total = total + load(weight, (j,), start, lanes) * value
            gated = total * load(x, (t,), c + start, lanes) if spec.gated else silu(total, lanes)
            store(out, (t,), start, lanes, gated)
            # Step 3: each input moves up by one token.
            for kept, value in zip(past, inputs[1:], strict=True):
                store(kept, (), 0, lanes, value)
        # Step 4: the last inputs, for the tokens to come.
        for j, kept in enumerate(past):
            store(state, (*outer, j), start, lanes, load(kept, (), 0, lanes))
