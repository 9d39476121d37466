"""The gated delta rule over many tokens, in chunks whose sums are in registers.

With H the state before a chunk, e[t] the product of its decays up to t, and w[t, j] of those after
j up to t, its L tokens correct the state by ``k'[t] c[t]`` and read ``y[t]``::

    c[t] = beta[t] (v[t] - e[t] k'[t] H - sum_{j < t} w[t, j] (k'[t] . k'[j]) c[j])
    y[t] = e[t] q'[t] H + sum_{j <= t} w[t, j] (q'[t] . k'[j]) c[j]
    H' = e[L - 1] H + sum_j w[L - 1, j] k'[j] c[j]

One pass over the state makes H' and at once what the next chunk's keys and queries find in it: a
state is loaded once a chunk, and takes 3 L + 1 multiply-adds, of which token by token takes 4 L
(docs/decisions/delta-rule.md).
The last chunk is filled with tokens that change nothing: their decay is 1, beta and keys are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schedules.delta_parts import Sums, dot, rates, unit_factor
from tvm_c4n._tvm import T
from tvm_c4n.ops import delta_rule
from tvm_c4n.ops.spec import DeltaSpec
from tvm_c4n.ops.tir import f32, load, local, loop, splat, store, tokens_of, vectors


@dataclass(frozen=True)
class Chunks:
    """What a head's columns share of all tokens.

    Attributes
    ----------
    length : int
        Tokens of a chunk, L.
    count : PrimExpr
        Chunks.
    decays, shares : Buffer, (count L, heads)
        Decays and betas.
    queries, keys : Buffer, (count L, key_heads, N)
        q' and k'.
    seen, known : Buffer, (count, key_heads, L, L)
        q'[t] . k'[j] and k'[t] . k'[j].
    """

    length: int
    count: Any
    decays: Any
    shares: Any
    queries: Any
    keys: Any
    seen: Any
    known: Any


@dataclass(frozen=True)
class Task:
    """Columns of a head that pass through time together, from `start` on."""

    head: Any
    start: Any
    pieces: tuple[tuple[int, int], ...]


def prefill(spec: DeltaSpec, lanes: int, length: int, count: int) -> None:
    """Emit the kernel: chunks of `length` tokens, `count` vectors of columns a task."""
    args = delta_rule.declare(spec, tokens_of(spec))
    chunks = _shared(spec, args, lanes, length)
    whole, rest = divmod(spec.head_dim, lanes * count)
    if whole:
        vector = tuple((v * lanes, lanes) for v in range(count))
        with T.parallel(spec.heads * whole) as task:
            start = task % whole * (lanes * count)
            _columns(spec, args, chunks, Task(task // whole, start, vector))
    if rest:
        with T.parallel(spec.heads * rest) as task:
            start = spec.head_dim - rest + task % rest
            _columns(spec, args, chunks, Task(task // rest, start, ((0, 1),)))


def _shared(spec: DeltaSpec, args: tuple[Any, ...], lanes: int, length: int) -> Chunks:
    """Emit what is the same for all columns of a head."""
    tokens = args[0].shape[0]
    count = T.floordiv(tokens + length - 1, length)
    padded = count * length
    decays, shares = (local((padded, spec.heads)) for _ in range(2))
    queries, keys = (local((padded, spec.key_heads, spec.key_dim)) for _ in range(2))
    seen, known = (local((count, spec.key_heads, length, length)) for _ in range(2))
    chunks = Chunks(length, count, decays, shares, queries, keys, seen, known)
    with T.parallel(padded) as t:
        if length == 1:
            _token(spec, args, chunks, t, lanes)
        else:
            with T.If(t < tokens):
                with T.Then():
                    _token(spec, args, chunks, t, lanes)
                with T.Else():
                    _nothing(spec, chunks, t, lanes)
    with T.parallel(count) as chunk, loop(spec.key_heads) as group:
        for t in range(length):
            for j in range(t + 1):
                at, to = (chunk * length + t, group), (chunk * length + j, group)
                for products, source in ((seen, queries), (known, keys)):
                    value = dot(source, at, keys, to, spec.key_dim, lanes)
                    T.buffer_store(products, value, [chunk, group, t, j])
    return chunks


def _token(spec: DeltaSpec, args: tuple[Any, ...], chunks: Chunks, t: Any, lanes: int) -> None:
    """Emit a token's rates, and queries and keys of length one."""

    def steps(start: Any, width: int) -> None:
        decay, share = rates(spec, args, (t, start), width)
        store(chunks.decays, (t,), start, width, decay)
        store(chunks.shares, (t,), start, width, share)

    vectors(spec.heads, lanes, steps)
    with loop(spec.key_heads) as group:
        for first, scale, units in (
            (0, spec.key_dim**-0.5, chunks.queries),
            (spec.keys, 1.0, chunks.keys),
        ):
            begin = T.bind(first + group * spec.key_dim)
            factor = unit_factor(spec, args[0], (t, begin), scale, lanes)

            def scaled(
                at: Any, width: int, units: Any = units, begin: Any = begin, factor: Any = factor
            ) -> None:
                value = load(args[0], (t,), begin + at, width) * splat(factor, width)
                store(units, (t, group), at, width, value)

            vectors(spec.key_dim, lanes, scaled)


def _nothing(spec: DeltaSpec, chunks: Chunks, t: Any, lanes: int) -> None:
    """Emit a token that changes no state."""

    def steps(start: Any, width: int) -> None:
        store(chunks.decays, (t,), start, width, f32(1.0, width))
        store(chunks.shares, (t,), start, width, f32(0.0, width))

    vectors(spec.heads, lanes, steps)
    with loop(spec.key_heads) as group:

        def clear(at: Any, width: int) -> None:
            for units in (chunks.queries, chunks.keys):
                store(units, (t, group), at, width, f32(0.0, width))

        vectors(spec.key_dim, lanes, clear)


def _columns(spec: DeltaSpec, args: tuple[Any, ...], chunks: Chunks, task: Task) -> None:
    """Emit all tokens of a task; its states are close to each other meanwhile."""
    *_, state, index, _ = args
    group = T.bind(delta_rule.key_head(spec, task.head))
    outer = (*index(0), task.head)
    h = local((spec.key_dim, sum(width for _, width in task.pieces)))
    found = [(Sums(task.pieces), Sums(task.pieces)) for _ in range(chunks.length)]
    with T.serial(spec.key_dim) as n:
        for piece, (column, width) in enumerate(task.pieces):
            value = T.bind(load(state, (*outer, n), task.start + column, width))
            store(h, (n,), column, width, value)
            _find(chunks, found, (0, group, n), piece, value)
    with T.serial(chunks.count) as chunk:
        # Step 1: corrections and outputs of the chunk's tokens.
        left, kept = _tokens(spec, args, chunks, task, (chunk, group), found)
        for known, seen in found:
            known.clear()
            seen.clear()
        # Step 2: the state after it, and what the next chunk finds there (the last one itself).
        after = T.bind(T.min(chunk + 1, chunks.count - 1))
        with T.serial(spec.key_dim) as n:
            for piece, (column, width) in enumerate(task.pieces):
                new = load(h, (n,), column, width) * splat(kept, width)
                for j in range(chunks.length):
                    key = chunks.keys[chunk * chunks.length + j, group, n]
                    new = new + left[j][piece] * splat(key, width)
                new = T.bind(new)
                store(h, (n,), column, width, new)
                _find(chunks, found, (after, group, n), piece, new)
    with T.serial(spec.key_dim) as n:
        for column, width in task.pieces:
            value = load(h, (n,), column, width)
            store(state, (*outer, n), task.start + column, width, value)


def _find(
    chunks: Chunks,
    found: list[tuple[Sums, Sums]],
    place: tuple[Any, Any, Any],
    piece: int,
    value: Any,
) -> None:
    """Emit what keys and queries of a chunk find; `place`: chunk, head of keys, its channel."""
    chunk, group, n = place
    lanes = found[0][0].width(piece)
    for j, (known, seen) in enumerate(found):
        t = chunk * chunks.length + j
        known.add(piece, value * splat(chunks.keys[t, group, n], lanes))
        seen.add(piece, value * splat(chunks.queries[t, group, n], lanes))


def _tokens(
    spec: DeltaSpec,
    args: tuple[Any, ...],
    chunks: Chunks,
    task: Task,
    place: tuple[Any, Any],
    found: list[tuple[Sums, Sums]],
) -> tuple[list[list[Any]], Any]:
    """Emit a chunk's outputs; returns w[L - 1, t] c[t] by token and piece, and e[L - 1]."""
    qkv, out, (chunk, group) = args[0], args[-1], place
    tokens, first = qkv.shape[0], chunk * chunks.length
    # w[t, j] c[j] of the token that is at work, by token and piece.
    left: list[list[Any]] = []
    kept: Any = None
    for t in range(chunks.length):
        decay = T.bind(chunks.decays[first + t, task.head])
        share = T.bind(chunks.shares[first + t, task.head])
        kept = T.bind(kept * decay) if t else decay
        left = [
            [T.bind(c * splat(decay, task.pieces[v][1])) for v, c in enumerate(row)] for row in left
        ]
        row = []
        known, seen = found[t]
        for v, (column, width) in enumerate(task.pieces):
            at = task.head * spec.head_dim + task.start + column
            wanted = load(qkv, (T.min(first + t, tokens - 1),), 2 * spec.keys + at, width)
            wanted = wanted - known[v] * splat(kept, width)
            y = seen[v] * splat(kept, width)
            for j in range(t):
                wanted = wanted - left[j][v] * splat(chunks.known[chunk, group, t, j], width)
                y = y + left[j][v] * splat(chunks.seen[chunk, group, t, j], width)
            row.append(T.bind(wanted * splat(share, width)))
            y = T.bind(y + row[-1] * splat(chunks.seen[chunk, group, t, t], width))
            if t == 0:
                store(out, (first,), at, width, y)
                continue
            with T.If(first + t < tokens), T.Then():
                store(out, (first + t,), at, width, y)
        left.append(row)
    return left, kept
