"""Squared ReLU: ``max(x, 0)^2``, the activation of an MLP without a gate (So et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import ReluSquaredSpec
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of


def declare(spec: ReluSquaredSpec, tokens: Any) -> tuple[Any, Any]:
    """Declare x and out, ``(tokens, cols)``, float32."""
    shape = (tokens, spec.cols)
    return declare_or_bind("x", shape), declare_or_bind("out", shape)


def define(spec: ReluSquaredSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        x, out = declare(spec, tokens)
        with loop(tokens) as t, T.serial(spec.cols) as i:
            value = T.bind(T.max(x[t, i], T.float32(0)))
            T.buffer_store(out, value * value, [t, i])

    return build(spec, "relu_squared", body)


def oracle(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute ``(tokens, cols)`` in float64."""
    return np.asarray(np.maximum(x.astype(np.float64), 0) ** 2, np.float64)


def emit(em: Emitter, x: Any) -> Any:
    """Emit the operator on ``(tokens, cols)`` float32."""
    spec = ReluSquaredSpec(em.dynamic, int(x.ty.shape[1]), batched=em.batched)
    out = relax.TensorType((em.tokens, spec.cols), "float32")
    return em.call(define(spec), [x], [out])[0]
