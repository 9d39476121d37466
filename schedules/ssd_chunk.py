"""Mamba-2's scan over many tokens in chunks (Dao and Gu 2024, section 6), in registers.

From the state H before a chunk, its L tokens' outputs and the state after it are::

    y[t] = e[t] C[t] H + sum_{j <= t} (C[t] . B[j]) m[t, j] delta[j] x[j]
    H' = e[L - 1] H + sum_j B[j] m[L - 1, j] delta[j] x[j]

where e[t] is the product of the chunk's decays up to t, and m[t, j] of those after j up to t. A
state is read and written once a chunk and takes 2 L + 1 multiply-adds, of which token by token
would take 3 L; docs/decisions/ssd-prefill.md says why L is so small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schedules.ssd_token import gate, rates, token
from tvm_c4n._tvm import T
from tvm_c4n.ops import ssd_scan
from tvm_c4n.ops.spec import SsdSpec
from tvm_c4n.ops.tir import f32, load, local, loop, splat, store, tokens_of, vectors


@dataclass(frozen=True)
class Chunks:
    """What the heads share of all tokens.

    Attributes
    ----------
    length : int
        Tokens of a chunk, L.
    count : PrimExpr
        Whole chunks.
    deltas, decays : Buffer, (tokens, heads)
    packed : Buffer, (count, groups, S, 2 L)
        A chunk's B of each state, then its C.
    products : Buffer, (count, groups, L, L)
        C[t] . B[j].
    """

    length: int
    count: Any
    deltas: Any
    decays: Any
    packed: Any
    products: Any


@dataclass(frozen=True)
class Task:
    """Columns of a head that pass through time together: `count` vectors of `lanes`."""

    head: Any
    start: Any
    count: int
    lanes: int

    @property
    def pieces(self) -> list[tuple[Any, int]]:
        """Columns of the head."""
        return [(self.start + v * self.lanes, self.lanes) for v in range(self.count)]


def prefill(spec: SsdSpec, lanes: int, length: int, count: int) -> None:
    """Emit the kernel: chunks of `length` tokens, `count` vectors of channels a task."""
    args = ssd_scan.declare(spec, tokens_of(spec))
    chunks = _shared(spec, args, lanes, length)
    whole, rest = divmod(spec.head_dim, lanes * count)
    if whole:
        with T.parallel(spec.heads * whole) as task:
            start = task % whole * (lanes * count)
            _columns(spec, args, chunks, Task(task // whole, start, count, lanes))
    if rest:
        with T.parallel(spec.heads * rest) as task:
            start = spec.head_dim - rest + task % rest
            _columns(spec, args, chunks, Task(task // rest, start, 1, 1))


def _shared(spec: SsdSpec, args: tuple[Any, ...], lanes: int, length: int) -> Chunks:
    """Emit what is the same for all channels: one exponential for each head and token."""
    tokens = args[0].shape[0]
    deltas, decays = (local((tokens, spec.heads)) for _ in range(2))

    with T.parallel(tokens) as t:

        def steps(start: Any, width: int) -> None:
            delta, decay = rates(spec, args, (t, start), width)
            store(deltas, (t,), start, width, delta)
            store(decays, (t,), start, width, decay)

        vectors(spec.heads, lanes, steps)

    # One more than there are, for memory of no size is none.
    count = tokens // length
    packed = local((count + 1, spec.groups, spec.state, 2 * length))
    products = local((count + 1, spec.groups, length, length))
    chunks = Chunks(length, count, deltas, decays, packed, products)
    if length > 1:
        with T.parallel(count) as chunk, loop(spec.groups) as group:
            _pack(spec, args[1], chunks, (chunk, group))
    return chunks


def _pack(spec: SsdSpec, bc: Any, chunks: Chunks, place: tuple[Any, Any]) -> None:
    """Emit a chunk's B and C, state by state, and their products."""
    (chunk, group), length = place, chunks.length
    b = group * spec.state
    c = b + spec.groups * spec.state
    sums = [local((length,)) for _ in range(length)]
    for total in sums:
        store(total, (), 0, length, f32(0.0, length))
    with T.serial(spec.state) as s:
        for t in range(length):
            T.buffer_store(chunks.packed, bc[chunk * length + t, b + s], [*place, s, t])
            T.buffer_store(chunks.packed, bc[chunk * length + t, c + s], [*place, s, length + t])
        keys = T.bind(load(chunks.packed, (*place, s), 0, length))
        for t, total in enumerate(sums):
            query = splat(chunks.packed[(*place, s, length + t)], length)
            store(total, (), 0, length, load(total, (), 0, length) + keys * query)
    for t, total in enumerate(sums):
        store(chunks.products, (*place, t), 0, length, load(total, (), 0, length))


def _columns(spec: SsdSpec, args: tuple[Any, ...], chunks: Chunks, task: Task) -> None:
    """Emit all tokens of a task; its states are float32 and close to each other meanwhile."""
    *_, state, index, out = args
    head, start = task.head, task.start
    outer = (*index(0), head)
    h = local((spec.state, task.count * task.lanes))
    with T.serial(spec.state) as s:
        for column, width in task.pieces:
            value = ssd_scan.load_state(state, (*outer, s), column, width)
            store(h, (s,), column - start, width, value)
    done: Any = 0
    if chunks.length > 1:
        done = chunks.count * chunks.length
        with T.serial(chunks.count) as chunk:
            _chunk(spec, args, chunks, task, chunk, h)
    with T.serial(out.shape[0] - done) as index:
        t = done + index
        step = T.bind(chunks.deltas[t, head]), T.bind(chunks.decays[t, head])
        token(spec, args, (t, head, task.pieces), step, (h, (), start))
    with T.serial(spec.state) as s:
        for column, width in task.pieces:
            value = load(h, (s,), column - start, width)
            ssd_scan.store_state(state, (*outer, s), column, width, value)


def _chunk(
    spec: SsdSpec, args: tuple[Any, ...], chunks: Chunks, task: Task, chunk: Any, h: Any
) -> None:
    """Emit a chunk: what its tokens see of the states before it, the states, and the outputs."""
    source, head, length, lanes = args[0], task.head, chunks.length, task.lanes
    group, first = head // (spec.heads // spec.groups), chunk * length
    seen, inside, left = _weights(chunks, (chunk, group), head)

    def x(t: int, v: int) -> Any:
        at = head * spec.head_dim + task.start + v * lanes
        return load(source, (first + t,), at, lanes)

    # Step 1: what each token adds to the states, and what it sees of them: nothing yet.
    drives = [
        [T.bind(x(t, v) * splat(left[t], lanes)) for v in range(task.count)] for t in range(length)
    ]
    totals = [[local((lanes,)) for _ in range(task.count)] for _ in range(length)]
    for total in (total for row in totals for total in row):
        store(total, (), 0, lanes, f32(0.0, lanes))
    # Step 2: each state is seen by all tokens, decays, and is driven by all tokens.
    with T.serial(spec.state) as s:
        for v in range(task.count):
            old = T.bind(load(h, (s,), v * lanes, lanes))
            new = old * splat(seen[-1], lanes)
            for t in range(length):
                query = splat(chunks.packed[chunk, group, s, length + t], lanes)
                total = totals[t][v]
                store(total, (), 0, lanes, load(total, (), 0, lanes) + old * query)
                key = splat(chunks.packed[chunk, group, s, t], lanes)
                new = new + drives[t][v] * key
            store(h, (s,), v * lanes, lanes, new)
    # Step 3: the tokens before it in the chunk, skip and gate.
    skip = T.bind(args[6][head])
    for t in range(length):
        for v in range(task.count):
            value = load(totals[t][v], (), 0, lanes) * splat(seen[t], lanes)
            for j in range(t):
                value = value + x(j, v) * splat(inside[t][j], lanes)
            value = value + x(t, v) * splat(inside[t][t] + skip, lanes)
            column = task.start + v * lanes
            gate(spec, args, (first + t, head, column), lanes, value)


def _weights(
    chunks: Chunks, place: tuple[Any, Any], head: Any
) -> tuple[list[Any], list[list[Any]], list[Any]]:
    """Return e[t], (C[t] . B[j]) m[t, j] delta[j], and m[L - 1, j] delta[j]."""
    length, first = chunks.length, place[0] * chunks.length
    seen: list[Any] = []
    inside: list[list[Any]] = []
    # m[t, j] delta[j] of the token before.
    left: list[Any] = []
    for t in range(length):
        decay = T.bind(chunks.decays[first + t, head])
        seen.append(T.bind(seen[-1] * decay) if seen else decay)
        left = [T.bind(weight * decay) for weight in left]
        left.append(T.bind(chunks.deltas[first + t, head]))
        inside.append(
            [T.bind(weight * chunks.products[(*place, t, j)]) for j, weight in enumerate(left)]
        )
    return seen, inside, left
