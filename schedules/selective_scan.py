"""Selective scan: a vector of channels carries its N state elements through time."""

from __future__ import annotations

from dataclasses import dataclass
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
from tvm_c4n.ops import selective_scan
from tvm_c4n.ops.slots import sequences
from tvm_c4n.ops.spec import OpSpec, ScanSpec
from tvm_c4n.ops.tir import (
    CACHE_LINE,
    LOG2_E,
    ColumnTiles,
    Kernel,
    exp2,
    f32,
    load,
    local,
    loop,
    prefetch,
    silu,
    softplus,
    splat,
    store,
    tokens_of,
)

# Vectors of channels that a core interleaves: each waits for its own last state, and the others
# fill the time. More were not faster on AVX2 and AVX-512 (docs/decisions/scan-interleaving.md).
INTERLEAVE = 4
# Tasks that are left for cores to share, at least.
MIN_TASKS = 8


@dataclass(frozen=True)
class SelectiveScan:
    """Channels in vectors (in parallel where there is enough work), time in sequence.

    Attributes
    ----------
    vectors : int or None
        Vectors of channels that a core interleaves, in prefill. One token leaves nothing to decide:
        see `wide_vectors`.
    parallel : bool
        False where the caller shares sequences between threads: prefill's loop over channels is
        serial then.
    """

    vectors: int | None = None
    parallel: bool = True
    name: ClassVar[str] = "selective_scan"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for the vectors that a core interleaves in prefill."""
        assert isinstance(spec, ScanSpec)  # noqa: S101 - the rule applies
        if not spec.prefill:
            return {}
        return {
            "vectors": interleave_candidates(spec.channels, intrin.lanes, INTERLEAVE, MIN_TASKS)
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a selective scan."""
        if not isinstance(spec, ScanSpec):
            return None

        lanes, n = intrin.lanes, spec.channels
        prefetches = intrin.prefetches_rows
        if not spec.prefill and n % lanes == 0:
            return Kernel.of_tiles(
                spec,
                self.name,
                ColumnTiles(
                    extent=n,
                    multiple=lanes,
                    width=next(w for w in (4, 2, 1) if n % (w * lanes) == 0) * lanes,
                    elementwise_args=_ELEMENTWISE_ARGS,
                    declare=lambda: selective_scan.declare(spec, tokens_of(spec)),
                    emit=lambda args, start, width: wide_vectors(
                        width,
                        lanes,
                        lambda at, count: _one_token(
                            spec, args, start + at, count, prefetches=prefetches
                        ),
                    ),
                ),
            )

        def body() -> None:
            args = selective_scan.declare(spec, tokens_of(spec))
            emit = _all_tokens if spec.prefill else _one_token
            space = self.space(spec, intrin)
            interleave = decided(self.vectors, space["vectors"]) if space else 1
            parallel_channels(
                n,
                lanes * interleave,
                lambda start, width: emit(spec, args, start, width),
                parallel=self.parallel,
            )

        return Kernel(spec, self.name, body)


# dt, x, a, d, state and out. The others are bc, xz (the gate is in its second half), layer, slots.
_ELEMENTWISE_ARGS = frozenset((0, 1, 4, 5, 6, 8))


def _one_token(
    spec: ScanSpec, args: tuple[Any, ...], start: Any, lanes: int, *, prefetches: bool = False
) -> None:
    """Emit one token, of each sequence: a state is read and written once, where it is."""
    *_, state, index, _ = args
    with loop(sequences(index.slots)[0]) as t:
        _token(spec, args, (t, start, lanes), (state, index(t), start), prefetches=prefetches)


def _all_tokens(spec: ScanSpec, args: tuple[Any, ...], start: Any, lanes: int) -> None:
    """Emit all tokens: the state of a vector of channels stays in registers while time passes."""
    *_, state, index, out = args
    h = local((spec.state, lanes))
    for n in range(spec.state):
        store(h, (n,), 0, lanes, load(state, (*index(0), n), start, lanes))
    with loop(out.shape[0]) as t:
        _token(spec, args, (t, start, lanes), (h, (), 0))
    for n in range(spec.state):
        store(state, (*index(0), n), start, lanes, load(h, (n,), 0, lanes))


def _token(
    spec: ScanSpec,
    args: tuple[Any, ...],
    place: tuple[Any, Any, int],
    where: tuple[Any, tuple[Any, ...], Any],
    *,
    prefetches: bool = False,
) -> None:
    """Emit a token of a vector of channels; `where` is the buffer of the state and its indices.

    With `prefetches`, the next vector's states and decays are prefetched meanwhile.
    """
    dt, x, bc, xz, a, d, _, _, out = args
    (t, start, lanes), (h, outer, first) = place, where
    # Step 1: what all states of a channel share: exp2's rate for delta * A, and delta * x.
    total = local((lanes,))
    delta = T.bind(softplus(load(dt, (t,), start, lanes), lanes))
    rate = T.bind(delta * f32(LOG2_E, lanes))
    value = T.bind(load(x, (t,), start, lanes))
    drive = T.bind(delta * value)
    store(total, (), 0, lanes, load(d, (), start, lanes) * value)
    # Step 2: each state decays, is driven, and adds to the output.
    with T.serial(spec.state) as n:
        for column in range(0, lanes if prefetches else 0, CACHE_LINE // 4):
            prefetch(h, (*outer, n, first + column), lanes)
            prefetch(a, (n, start + column), lanes)
        decay = exp2(rate * selective_scan.decay_rates(spec, a, n, start, lanes), lanes)
        b = splat(bc[t, spec.dt_rank + n], lanes)
        c = splat(bc[t, spec.dt_rank + spec.state + n], lanes)
        new = T.bind(decay * load(h, (*outer, n), first, lanes) + drive * b)
        store(h, (*outer, n), first, lanes, new)
        store(total, (), 0, lanes, load(total, (), 0, lanes) + c * new)
    # Step 3: the gate.
    gate = silu(load(xz, (t,), spec.channels + start, lanes), lanes)
    store(out, (t,), start, lanes, load(total, (), 0, lanes) * gate)
