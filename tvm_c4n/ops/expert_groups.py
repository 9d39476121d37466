"""Prefill's pairs of a token and an expert in the order of experts, and back.

All tokens of an expert lie below each other then, and its matrix meets them at once
(`tvm_c4n.ops.grouped_linear`). `places` says where a token's pairs are, `starts` where an expert's
begin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import GroupSpec, MixSpec, SpreadSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def define_group(spec: GroupSpec) -> PrimFunc:
    """Return the sort by counting as a PrimFunc: a few thousand pairs, so it is the kernel, too.

    It takes chosen ``(tokens, chosen)`` int32, and gives places, alike, and starts
    ``(experts + 1,)`` int32. Numbers that are no expert's count as the nearest.
    """

    def body() -> None:
        tokens = tokens_of(spec)
        chosen = declare_or_bind("chosen", (tokens, spec.chosen), "int32")
        places = declare_or_bind("places", (tokens, spec.chosen), "int32")
        starts = declare_or_bind("starts", (spec.experts + 1,), "int32")

        def expert(t: Any, j: Any) -> Any:
            return T.bind(T.max(T.int32(0), T.min(chosen[t, j], T.int32(spec.experts - 1))))

        # Step 1: how many pairs each expert has, behind its own number.
        with T.serial(spec.experts + 1) as e:
            T.buffer_store(starts, T.int32(0), [e])
        with loop(tokens) as t, T.serial(spec.chosen) as j:
            e = expert(t, j)
            T.buffer_store(starts, starts[e + 1] + 1, [e + 1])
        # Step 2: where they begin, and where the next one of each goes.
        following = local((spec.experts,), "int32")
        with T.serial(spec.experts) as e:
            T.buffer_store(following, starts[e], [e])
            T.buffer_store(starts, starts[e + 1] + starts[e], [e + 1])
        # Step 3: the places.
        with loop(tokens) as t, T.serial(spec.chosen) as j:
            e = expert(t, j)
            T.buffer_store(places, following[e], [t, j])
            T.buffer_store(following, following[e] + 1, [e])

    return build(spec, "expert_groups", body)


def declare_spread(spec: SpreadSpec, tokens: Any) -> tuple[Any, Any, Any]:
    """Declare x ``(tokens, cols)``, places, and out ``(pairs, cols)``."""
    return (
        declare_or_bind("x", (tokens, spec.cols), spec.dtype),
        declare_or_bind("places", (tokens, spec.chosen), "int32"),
        declare_or_bind("out", (T.int64(), spec.cols), spec.dtype),
    )


def define_spread(spec: SpreadSpec) -> PrimFunc:
    """Return the plain definition of ``out[places[t, j]] = x[t]``."""

    def body() -> None:
        tokens = tokens_of(spec)
        x, places, out = declare_spread(spec, tokens)
        with loop(tokens) as t, T.serial(spec.chosen) as j, T.serial(spec.cols) as i:
            T.buffer_store(out, x[t, i], [places[t, j], i])

    return build(spec, "expert_spread", body)


def declare_mix(spec: MixSpec, tokens: Any) -> tuple[Any, ...]:
    """Declare y ``(pairs, cols)``, places, shares, residual and out ``(tokens, cols)``."""
    return (
        declare_or_bind("y", (T.int64(), spec.cols)),
        declare_or_bind("places", (tokens, spec.chosen), "int32"),
        declare_or_bind("shares", (tokens, spec.chosen)),
        declare_or_bind("residual", (tokens, spec.cols)),
        declare_or_bind("out", (tokens, spec.cols)),
    )


def define_mix(spec: MixSpec) -> PrimFunc:
    """Return the plain definition of ``out[t] = residual[t] + sum_j share[t, j] y[place]``."""

    def body() -> None:
        tokens = tokens_of(spec)
        y, places, shares, residual, out = declare_mix(spec, tokens)
        with loop(tokens) as t, T.serial(spec.cols) as i:
            T.buffer_store(out, residual[t, i], [t, i])
            with T.serial(spec.chosen) as j:
                T.buffer_store(out, out[t, i] + shares[t, j] * y[places[t, j], i], [t, i])

    return build(spec, "expert_mix", body)


def oracle(
    chosen: NDArray[np.integer[Any]], experts: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return places ``(tokens, chosen)`` and starts ``(experts + 1,)``."""
    order = np.argsort(chosen.reshape(-1), kind="stable")
    places = np.empty(chosen.size, np.int32)
    places[order] = np.arange(chosen.size)
    counts = np.bincount(chosen.reshape(-1), minlength=experts)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return places.reshape(chosen.shape), starts


def emit_group(em: Emitter, chosen: Any, experts: int) -> tuple[Any, Any]:
    """Emit the sort of pairs by expert; returns places and starts."""
    spec = GroupSpec(em.dynamic, experts, int(chosen.ty.shape[1]))
    out = [
        relax.TensorType((em.tokens, spec.chosen), "int32"),
        relax.TensorType((experts + 1,), "int32"),
    ]
    places, starts = em.call(define_group(spec), [chosen], out)
    return places, starts


def emit_spread(em: Emitter, x: Any, places: Any) -> Any:
    """Emit rows of tokens ``(tokens, cols)`` for each pair: ``(pairs, cols)``."""
    count, cols = int(places.ty.shape[1]), int(x.ty.shape[1])
    spec = SpreadSpec(em.dynamic, cols, count, str(x.ty.dtype))
    out = relax.TensorType((em.tokens * count, cols), spec.dtype)
    return em.call(define_spread(spec), [x, places], [out])[0]


def emit_mix(em: Emitter, y: Any, places: Any, shares: Any, residual: Any) -> Any:
    """Emit the sum of a token's pairs ``(pairs, cols)`` and the stream ``(tokens, cols)``."""
    count, cols = int(places.ty.shape[1]), int(y.ty.shape[1])
    spec = MixSpec(em.dynamic, cols, count)
    out = relax.TensorType((em.tokens, cols), "float32")
    return em.call(define_mix(spec), [y, places, shares, residual], [out])[0]
