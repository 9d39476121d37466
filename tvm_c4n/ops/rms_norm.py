"""RMSNorm: ``x / sqrt(mean(x^2) + eps) * weight`` (Zhang and Sennrich 2019, eq. 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import RmsNormSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def declare(spec: RmsNormSpec, tokens: Any) -> tuple[Any, Any, Any]:
    """Declare x ``(tokens, cols)``, weight ``(cols,)`` and out ``(tokens or 1, cols)``, float32."""
    return (
        declare_or_bind("x", (tokens, spec.cols)),
        declare_or_bind("weight", (spec.cols,)),
        declare_or_bind("out", (1 if spec.last else tokens, spec.cols)),
    )


def rows(spec: RmsNormSpec, tokens: Any) -> tuple[Any, Any]:
    """Return how many tokens are normalised, and which is the first."""
    return (1, tokens - 1) if spec.last else (tokens, 0)


def define(spec: RmsNormSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        x, weight, out = declare(spec, tokens)
        count, first = rows(spec, tokens)
        with loop(count) as m:
            source = first + m
            total = local((1,), "float32")
            T.buffer_store(total, T.float32(0), [0])
            with T.serial(spec.cols) as i:
                T.buffer_store(total, total[0] + x[source, i] * x[source, i], [0])
            with T.serial(spec.cols) as i:
                root = T.sqrt(total[0] / T.float32(spec.cols) + T.float32(spec.eps))
                T.buffer_store(out, x[source, i] / root * weight[i], [m, i])

    return build(spec, "rms_norm", body)


def oracle(
    x: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]], eps: float
) -> NDArray[np.float64]:
    """Compute the norm of ``(tokens, cols)`` in float64."""
    wide = x.astype(np.float64)
    return np.asarray(wide / np.sqrt((wide**2).mean(1, keepdims=True) + eps) * weight, np.float64)


def emit(
    em: Emitter, x: Any, weight: NDArray[np.float32], eps: float, *, last: bool = False
) -> Any:
    """Emit the operator on ``(tokens, cols)`` float32; with `last` the result is ``(1, cols)``."""
    spec = RmsNormSpec(em.dynamic, len(weight), eps, last)
    out = relax.TensorType((1 if last else em.tokens, spec.cols), "float32")
    return em.call(define(spec), [x, em.constant(weight)], [out])[0]
