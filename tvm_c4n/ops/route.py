"""The router of a mixture of experts: which experts a token has, and the share of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import RouteSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def declare(spec: RouteSpec, tokens: Any) -> tuple[Any, Any, Any]:
    """Declare logits ``(tokens, experts)``, chosen ``(tokens, chosen)`` int32, and the shares."""
    return (
        declare_or_bind("logits", (tokens, spec.experts)),
        declare_or_bind("chosen", (tokens, spec.chosen), "int32"),
        declare_or_bind("shares", (tokens, spec.chosen)),
    )


def choose(spec: RouteSpec, args: tuple[Any, Any, Any], t: Any) -> None:
    """Emit the choice for one token: of equal logits, the first one wins.

    Logits that are not numbers choose some experts, too, and their shares are not numbers.
    """
    logits, chosen, shares = args
    best, total = local((1,)), local((1,))
    # Step 1: one expert after the other, each the best of those that come behind the last one.
    with T.serial(spec.chosen) as j:
        T.buffer_store(chosen, T.int32(0), [t, j])
        T.buffer_store(best, T.min_value("float32"), [0])
        with T.serial(spec.experts) as e:
            value, last = logits[t, e], T.max(j - 1, 0)
            known = chosen[t, last]
            ahead = logits[t, known]
            behind = T.Or(value < ahead, T.And(value == ahead, T.cast(e, "int32") > known))
            with T.If(T.And(T.Or(j == 0, behind), value > best[0])), T.Then():
                T.buffer_store(best, value, [0])
                T.buffer_store(chosen, T.cast(e, "int32"), [t, j])
    # Step 2: the softmax over them; the first has the largest logit.
    T.buffer_store(total, T.float32(0), [0])
    with T.serial(spec.chosen) as j:
        T.buffer_store(shares, T.exp(logits[t, chosen[t, j]] - logits[t, chosen[t, 0]]), [t, j])
        T.buffer_store(total, total[0] + shares[t, j], [0])
    with T.serial(spec.chosen) as j:
        T.buffer_store(shares, shares[t, j] / total[0], [t, j])


def define(spec: RouteSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        with loop(tokens) as t:
            choose(spec, args, t)

    return build(spec, "route", body)


def oracle(
    logits: NDArray[np.floating[Any]], chosen: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the experts ``(tokens, chosen)``, best first, and their shares in float64."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :chosen]
    best = np.take_along_axis(logits.astype(np.float64), order, 1)
    shares = np.exp(best - best[:, :1])
    return order.astype(np.int32), shares / shares.sum(1, keepdims=True)


def emit(em: Emitter, logits: Any, chosen: int) -> tuple[Any, Any]:
    """Emit the operator on logits ``(tokens, experts)``; returns the experts and their shares."""
    spec = RouteSpec(em.dynamic, int(logits.ty.shape[1]), chosen, batched=em.batched)
    out = [relax.TensorType((em.tokens, chosen), dtype) for dtype in ("int32", "float32")]
    experts, shares = em.call(define(spec), [logits], out)
    return experts, shares
