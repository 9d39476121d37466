"""RMSNorm: ``x / sqrt(mean(x^2) + eps) * weight`` (Zhang and Sennrich 2019, eq. 4).

The mean is taken over each of `groups` slices of the columns: Mamba-2's gated norm has as many as
groups of heads, and heads of queries have one each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import RmsNormSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def declare(spec: RmsNormSpec, tokens: Any) -> tuple[Any, Any, Any]:
    """Declare x ``(tokens, width)``, weight ``(cols,)`` and out ``(tokens or 1, cols)``, float32.

    The width is `cols` and the gaps.
    """
    return (
        declare_or_bind("x", (tokens, spec.cols + spec.groups * spec.gap)),
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
        size = spec.size
        with loop(count) as m, loop(spec.groups) as group:
            source, start, read = first + m, group * size, group * (size + spec.gap)
            total = local((1,), "float32")
            T.buffer_store(total, T.float32(0), [0])
            with T.serial(size) as i:
                value = x[source, read + i]
                T.buffer_store(total, total[0] + value * value, [0])
            with T.serial(size) as i:
                root = T.sqrt(total[0] / T.float32(size) + T.float32(spec.eps))
                scaled = x[source, read + i] / root * weight[start + i]
                T.buffer_store(out, scaled, [m, start + i])

    return build(spec, "rms_norm", body)


def oracle(
    x: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]], eps: float, groups: int = 1
) -> NDArray[np.float64]:
    """Compute the norm of ``(tokens, cols)`` in float64."""
    wide = x.astype(np.float64).reshape(len(x), groups, -1)
    normed = wide / np.sqrt((wide**2).mean(2, keepdims=True) + eps)
    return np.asarray(normed.reshape(x.shape) * weight, np.float64)


def emit(
    em: Emitter,
    x: Any,
    weight: NDArray[np.float32],
    eps: float,
    *,
    last: bool = False,
    groups: int = 1,
) -> Any:
    """Emit the operator on ``(tokens, width)`` float32; with `last` the result is ``(1, cols)``.

    Where `x` is wider than the weight, a gap of equal size follows each slice.
    """
    gap = (int(x.ty.shape[1]) - len(weight)) // groups
    spec = RmsNormSpec(em.dynamic, len(weight), eps, last, groups, gap, batched=em.batched)
    out = relax.TensorType((1 if last else em.tokens, spec.cols), "float32")
    return em.call(define(spec), [x, em.constant(weight)], [out])[0]
