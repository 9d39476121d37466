"""Causal grouped-query attention over a ring of keys and values that it updates in place.

The call's tokens have the places position, position + 1, ... of the text. First their keys
(rotated) and values go to slot ``place % context``. Then, for token t and head h with the keys and
values of head ``h // (heads // kv_heads)``::

    out[t, h] = softmax(scale * q[t, h] . keys[seen]) values[seen]

where *seen* are the slots whose token is t itself or came before it. Where there are gates, out is
multiplied by ``sigmoid(gates[t, h])``: they stand behind each head's queries, in q_proj's output,
of which q may be the norm of the queries. A call of more than `context`
tokens leaves none for its first ones: they give zeros.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.ring import BLOCK, first_place, read, ring_shapes, slot, stay, stored
from tvm_c4n.ops.slots import (
    Positions,
    StateIndex,
    declare_index,
    declare_state,
    sequences,
)
from tvm_c4n.ops.spec import AttentionSpec
from tvm_c4n.ops.tir import (
    build,
    declare_or_bind,
    local,
    loop,
    tokens_of,
)

# A score that nothing sees.
UNSEEN = -1e30


class Args(NamedTuple):
    """The arguments in order, see `declare`; `angles` is None without rotation, `gates` without."""

    q: Any
    k: Any
    v: Any
    angles: Any
    gates: Any
    position: Positions
    keys: Any
    values: Any
    where: StateIndex
    out: Any


def declare(spec: AttentionSpec, tokens: Any) -> Args:
    """Declare the arguments.

    Returns
    -------
    Args
        q and out ``(tokens, heads * head_dim)``; k and v ``(tokens, kv_heads * head_dim)``; angles
        ``(tokens, rotary)``, see `tvm_c4n.ops.rotary`; gates ``(tokens, 2 * heads * head_dim)``,
        see `gate_column`; `Positions`; keys
        ``(layers, kv_heads, context / BLOCK, head_dim, BLOCK)``; values
        ``(layers, kv_heads, context / BLOCK, BLOCK, head_dim)``; their `StateIndex`; float32. Keys
        and values of float16 come as their bits, uint16: OpenCL need not have halves.
    """
    dtype = "uint16" if spec.half else "float32"
    keys, values = ring_shapes(spec)
    wide, narrow = (n * spec.head_dim for n in (spec.heads, spec.kv_heads))
    q, k, v = (
        declare_or_bind(name, (tokens, width))
        for name, width in (("query", wide), ("key", narrow), ("value", narrow))
    )
    angles = declare_or_bind("angles", (tokens, spec.rotary)) if spec.rotary else None
    gates = declare_or_bind("gates", (tokens, 2 * wide)) if spec.gated else None
    texts = T.int64() if spec.batched else None
    position = declare_state(spec, "position", (1,), "int32", texts)
    ring = (
        declare_state(spec, "keys", keys, dtype, texts),
        declare_state(spec, "values", values, dtype, texts),
    )
    where = declare_index(spec)
    out = declare_or_bind("out", (tokens, wide))
    return Args(q, k, v, angles, gates, Positions(position, where.slots), *ring, where, out)


def gate_column(spec: AttentionSpec, head: Any) -> Any:
    """Return the first column of a head's gates."""
    return (2 * head + 1) * spec.head_dim


def rotated(spec: AttentionSpec, x: Any, angles: Any, t: Any, first: Any, i: Any) -> Any:
    """Return element `i` of a head whose columns begin at `first`, rotated."""
    plain, half = x[t, first + i], spec.rotary // 2
    if not half:
        return plain
    pair = T.floormod(i, half)
    low, high = x[t, first + pair], x[t, first + pair + half]
    cos, sin = angles[t, pair], angles[t, half + pair]
    turned = T.if_then_else(i < half, low * cos - high * sin, high * cos + low * sin)
    return T.if_then_else(i < spec.rotary, turned, plain)


def define(spec: AttentionSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""
    zero, group = T.float32(0), spec.heads // spec.kv_heads

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        texts, length = sequences(args.where.slots, tokens)
        # Step 1: keys and values into the ring.
        newest = stay(spec, length)
        with loop(texts) as s, loop(newest) as n, T.serial(spec.kv_heads) as h:
            at, column = length - newest + n, h * spec.head_dim
            block, place = slot(spec, first_place(args.position, s) + at)
            outer = args.where(s)
            with T.serial(spec.head_dim) as i:
                key = rotated(spec, args.k, args.angles, s + at, column, i)
                T.buffer_store(args.keys, stored(spec, key), [*outer, h, block, i, place])
                value = stored(spec, args.v[s + at, column + i])
                T.buffer_store(args.values, value, [*outer, h, block, place, i])
        # Step 2: each head of each token goes through the slots.
        with loop(texts) as first, loop(length) as n, T.serial(spec.heads) as h:
            t, outer = first + n, args.where(first)
            begin = T.bind(first_place(args.position, first))
            top, total, score = (local((1,)) for _ in range(3))
            T.buffer_store(top, T.float32(UNSEEN), [0])
            T.buffer_store(total, zero, [0])
            with T.serial(spec.head_dim) as i:
                T.buffer_store(args.out, zero, [t, h * spec.head_dim + i])
            with T.serial(spec.context) as s:
                age = T.floormod(begin + length - 1 - s, spec.context)
                block, place = slot(spec, s)
                with T.If(T.And(age >= length - 1 - n, age < begin + length)), T.Then():
                    T.buffer_store(score, zero, [0])
                    with T.serial(spec.head_dim) as i:
                        q = rotated(spec, args.q, args.angles, t, h * spec.head_dim, i)
                        key = read(spec, args.keys[(*outer, h // group, block, i, place)])
                        T.buffer_store(score, score[0] + q * key, [0])
                    T.buffer_store(score, score[0] * T.float32(spec.scale), [0])
                    higher = T.bind(T.max(top[0], score[0]))
                    keep, weight = T.bind(T.exp(top[0] - higher)), T.bind(T.exp(score[0] - higher))
                    T.buffer_store(top, higher, [0])
                    T.buffer_store(total, total[0] * keep + weight, [0])
                    with T.serial(spec.head_dim) as i:
                        at = [t, h * spec.head_dim + i]
                        value = read(spec, args.values[(*outer, h // group, block, place, i)])
                        T.buffer_store(args.out, args.out[tuple(at)] * keep + weight * value, at)
            with T.serial(spec.head_dim) as i:
                at = [t, h * spec.head_dim + i]
                mean = T.if_then_else(total[0] > zero, args.out[tuple(at)] / total[0], zero)
                if spec.gated:
                    gate = args.gates[t, gate_column(spec, h) + i]
                    mean = mean / (T.float32(1) + T.exp(zero - gate))
                T.buffer_store(args.out, mean, at)

    return build(spec, "attention", body)


def oracle(
    spec: AttentionSpec,
    qkv: tuple[NDArray[np.floating[Any]], ...],
    angles: NDArray[np.floating[Any]] | None,
    position: int,
    ring: tuple[NDArray[np.floating[Any]], ...],
    gates: NDArray[np.floating[Any]] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute one layer in float64; keys and values are rounded as the ring holds them.

    Parameters
    ----------
    spec : AttentionSpec
    qkv : tuple of ndarray
        q, k and v, see `declare`.
    angles : ndarray, (tokens, rotary), optional
    position : int
        Tokens that were read before.
    ring : tuple of ndarray
        One layer's keys ``(kv_heads, context / BLOCK, head_dim, BLOCK)`` and values
        ``(kv_heads, context / BLOCK, BLOCK, head_dim)``, floats.
    gates : ndarray, (tokens, 2 * heads * head_dim), optional

    Returns
    -------
    out : ndarray, (tokens, heads * head_dim)
    keys, values : ndarray
        The layer's ring afterwards.
    """
    q, k, v = (x.astype(np.float64).reshape(len(x), -1, spec.head_dim) for x in qkv)
    if angles is not None:
        q, k = (_rotate(x, angles.astype(np.float64)[:, None]) for x in (q, k))
    if spec.half:
        k, v = (x.astype(np.float16).astype(np.float64) for x in (k, v))
    # Step 1: by slot, ``(context, kv_heads, head_dim)``.
    orders = (0, 1, 3, 2), (0, 1, 2, 3)
    flat = (spec.kv_heads, spec.context, spec.head_dim)
    keys, values = (
        x.astype(np.float64).transpose(order).reshape(flat).swapaxes(0, 1).copy()
        for x, order in zip(ring, orders, strict=True)
    )
    holds = np.arange(spec.context) - spec.context  # the place of each slot's token
    holds += (position - 1 - holds) // spec.context * spec.context
    for place, key, value in zip(range(position, position + len(k)), k, v, strict=True):
        at = place % spec.context
        keys[at], values[at], holds[at] = key, value, place
    # Step 2: each head of each token by itself.
    out = np.zeros(q.shape)
    for t in range(len(q)):
        seen = (holds >= 0) & (holds <= position + t)
        for h in range(spec.heads if seen.any() else 0):
            kv = h // (spec.heads // spec.kv_heads)
            scores = spec.scale * keys[seen, kv] @ q[t, h]
            weights = np.exp(scores - scores.max())
            out[t, h] = weights @ values[seen, kv] / weights.sum()
    if gates is not None:
        behind = gates.astype(np.float64).reshape(len(q), spec.heads, 2, -1)[:, :, 1]
        out /= 1 + np.exp(-behind)
    blocks = (spec.kv_heads, spec.context // BLOCK, BLOCK, spec.head_dim)
    after = [
        x.swapaxes(0, 1).reshape(blocks).transpose(order)
        for x, order in zip((keys, values), orders, strict=True)
    ]
    return out.reshape(len(out), -1), after[0], after[1]


def _rotate(x: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotate the first elements of heads, the halves in pairs (transformers' rotate_half)."""
    half = angles.shape[-1] // 2
    cos, sin = angles[..., :half], angles[..., half:]
    low, high = x[..., :half], x[..., half : 2 * half]
    turned = [low * cos - high * sin, high * cos + low * sin, x[..., 2 * half :]]
    return np.concatenate(turned, axis=-1)


def emit(
    em: Emitter,
    qkv: tuple[Any, Any, Any],
    position: Any,
    ring: tuple[Any, Any],
    layer: int,
    *,
    scale: float,
    angles: Any = None,
    gates: Any = None,
) -> tuple[Any, tuple[Any, Any]]:
    """Emit the operator; returns out ``(tokens, heads * head_dim)`` and the updated ring.

    Parameters
    ----------
    em : Emitter
    qkv : tuple of relax.Expr
        q, k and v, see `declare`.
    position : relax.Var
    ring : tuple of relax.Var
        Keys and values, uint16 (float16) or float32; they must not be used afterwards.
    layer : int
    scale : float
        Factor of the scores.
    angles : relax.Expr, optional
        The result of `tvm_c4n.ops.rotary.emit`.
    gates : relax.Expr, optional
        See `declare`.
    """
    keys, values = ring
    kv_heads, blocks, head_dim, _ = (int(n) for n in list(keys.ty.shape)[-4:])
    width = int(qkv[0].ty.shape[1])
    spec = AttentionSpec(
        dynamic=em.dynamic,
        heads=width // head_dim,
        kv_heads=kv_heads,
        head_dim=head_dim,
        layers=int(keys.ty.shape[0]),
        context=blocks * BLOCK,
        scale=scale,
        rotary=0 if angles is None else int(angles.ty.shape[1]),
        half=str(keys.ty.dtype) == "uint16",
        gated=gates is not None,
        batched=em.batched,
    )
    optional = [x for x in (angles, gates) if x is not None]
    inputs = [*qkv, *optional, position, keys, values, *em.index(layer)]
    first = len(optional) + 4
    out = [keys.ty, values.ty, relax.TensorType((em.tokens, width), "float32")]
    keys, values, y = em.call(define(spec), inputs, out, inplace=(first, first + 1))
    return y, (keys, values)
