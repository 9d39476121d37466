"""The gated delta rule: a head's state stays near its core; prefill takes chunks of tokens.

A step goes through a block of a head's columns twice, from memory and then from L1::

    m, r = k' H, q' H                      of the state before the token
    c = beta (v - decay m)                 what is corrected
    y = decay r + (q' . k') c
    H = decay H + k' c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from schedules.base import Space, candidates, decided
from schedules.delta_chunk import prefill
from schedules.delta_parts import Sums, dot, rates, unit_factor
from schedules.intrin.base import Intrinsics
from schedules.ssd_token import pieces
from tvm_c4n._tvm import T
from tvm_c4n.ops import delta_rule
from tvm_c4n.ops.slots import sequences
from tvm_c4n.ops.spec import DeltaSpec, OpSpec
from tvm_c4n.ops.tir import ColumnTiles, Kernel, load, local, loop, splat, store, tokens_of, vectors


@dataclass(frozen=True)
class DeltaRule:
    """Heads in parallel; in prefill also a head's columns, for they are independent.

    Attributes
    ----------
    tokens : int or None
        Tokens of a chunk, in prefill; 1: one after the other.
    vectors : int or None
        Vectors of columns that a task carries through time, in prefill.
    """

    tokens: int | None = None
    vectors: int | None = None
    name: ClassVar[str] = "delta_rule"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for chunks and tasks in prefill."""
        assert isinstance(spec, DeltaSpec)  # noqa: S101 - the rule applies
        if not spec.prefill:
            return {}
        fitting = [n for n in (1, 2, 4) if spec.head_dim % (n * intrin.lanes) == 0] or [1]
        most = intrin.delta_vectors
        return {
            "tokens": candidates(intrin.delta_tokens, (1, 2, 4)),
            "vectors": candidates(max(n for n in fitting if n <= most), fitting),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a gated delta rule."""
        if not isinstance(spec, DeltaSpec):
            return None
        if not spec.prefill:
            return Kernel.of_tiles(spec, self.name, _tiles(spec, intrin))
        space = self.space(spec, intrin)
        tokens = decided(self.tokens, space["tokens"])
        count = decided(self.vectors, space["vectors"])
        return Kernel(spec, self.name, lambda: prefill(spec, intrin.lanes, tokens, count))


def _tiles(spec: DeltaSpec, intrin: Intrinsics) -> ColumnTiles:
    """Return heads as tiles of columns."""
    together = max(intrin.sums // 3, 1)

    def emit(args: tuple[Any, ...], start: Any, width: int) -> None:
        texts, _ = sequences(args[6].slots)
        with loop(width // spec.head_dim) as index, loop(texts) as t:
            _head(spec, args, (t, start // spec.head_dim + index), intrin.lanes, together)

    return ColumnTiles(
        extent=spec.inner,
        multiple=spec.head_dim,
        width=spec.head_dim,
        # The state; queries and keys are those of other columns.
        elementwise_args=frozenset((5,)),
        declare=lambda: delta_rule.declare(spec, tokens_of(spec)),
        emit=emit,
    )


def _head(
    spec: DeltaSpec, args: tuple[Any, ...], place: tuple[Any, Any], lanes: int, together: int
) -> None:
    """Emit one token of a head, some vectors of columns after the other."""
    (qkv, *_), (t, head) = args, place
    # Step 1: queries and keys of length one, and their product.
    group = delta_rule.key_head(spec, head)
    units = []
    for first, scale in ((0, spec.key_dim**-0.5), (spec.keys, 1.0)):
        begin = T.bind(first + group * spec.key_dim)
        factor = unit_factor(spec, qkv, (t, begin), scale, lanes)
        unit = local((spec.key_dim,))

        def scaled(
            at: Any, width: int, unit: Any = unit, begin: Any = begin, factor: Any = factor
        ) -> None:
            store(unit, (), at, width, load(qkv, (t,), begin + at, width) * splat(factor, width))

        vectors(spec.key_dim, lanes, scaled)
        units.append(unit)
    product = dot(units[0], (), units[1], (), spec.key_dim, lanes)
    decay, share = rates(spec, args, place, 1)
    covered = pieces(0, spec.head_dim, lanes)
    for at in range(0, len(covered), together):
        _columns(spec, args, place, covered[at : at + together], (*units, product, decay, share))


def _columns(
    spec: DeltaSpec,
    args: tuple[Any, ...],
    place: tuple[Any, Any],
    columns: list[tuple[int, int]],
    shared: tuple[Any, ...],
) -> None:
    """Emit one token of some columns of a head."""
    qkv, *_, state, index, out = args
    (t, head), (query, key, product, decay, share) = place, shared
    outer = (*index(t), head)
    seen, known = Sums(columns), Sums(columns)
    # Step 2: what query and key find in the state before.
    with T.serial(spec.key_dim) as n:
        for piece, (column, width) in enumerate(columns):
            old = T.bind(load(state, (*outer, n), column, width))
            known.add(piece, old * splat(key[n], width))
            seen.add(piece, old * splat(query[n], width))
    # Step 3: what is corrected, and what the query finds then.
    corrections = []
    for piece, (column, width) in enumerate(columns):
        at = head * spec.head_dim + column
        wanted = load(qkv, (t,), 2 * spec.keys + at, width) - known[piece] * splat(decay, width)
        corrections.append(T.bind(wanted * splat(share, width)))
        y = seen[piece] * splat(decay, width) + corrections[-1] * splat(product, width)
        store(out, (t,), at, width, y)
    # Step 4: the state after.
    with T.serial(spec.key_dim) as n:
        for (column, width), correction in zip(columns, corrections, strict=True):
            old = load(state, (*outer, n), column, width)
            new = old * splat(decay, width) + correction * splat(key[n], width)
            store(state, (*outer, n), column, width, new)
