"""Falcon-Mamba's RMSNorm without weight: over dt, B and C by themselves, in x_proj's output.

``x / sqrt(mean(x^2) + eps)`` over the first `rank` columns, the next `state` and the last `state`.
The result has the form of the input, so that dt_proj and the scan read it as they read x_proj's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import RmsNormPartsSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def declare(spec: RmsNormPartsSpec, tokens: Any) -> tuple[Any, Any]:
    """Declare x and out, ``(tokens, rank + 2 * state)``, float32."""
    shape = (tokens, spec.cols)
    return declare_or_bind("x", shape), declare_or_bind("out", shape)


def parts(spec: RmsNormPartsSpec) -> tuple[tuple[int, int], ...]:
    """Return the first column of each part and how many it has."""
    rank, state = spec.rank, spec.state
    return (0, rank), (rank, state), (rank + state, state)


def define(spec: RmsNormPartsSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        x, out = declare(spec, tokens)
        with loop(tokens) as t:
            for start, size in parts(spec):
                total = local((1,), "float32")
                T.buffer_store(total, T.float32(0), [0])
                with T.serial(size) as i:
                    value = x[t, start + i]
                    T.buffer_store(total, total[0] + value * value, [0])
                with T.serial(size) as i:
                    root = T.sqrt(total[0] / T.float32(size) + T.float32(spec.eps))
                    T.buffer_store(out, x[t, start + i] / root, [t, start + i])

    return build(spec, "rms_norm_parts", body)


def oracle(x: NDArray[np.floating[Any]], spec: RmsNormPartsSpec) -> NDArray[np.float64]:
    """Compute the norms of ``(tokens, rank + 2 * state)`` in float64."""
    wide = x.astype(np.float64)
    found = [wide[:, start : start + size] for start, size in parts(spec)]
    return np.concatenate(
        [p / np.sqrt((p**2).mean(1, keepdims=True) + spec.eps) for p in found], axis=1
    )


def emit(em: Emitter, x: Any, rank: int, eps: float) -> Any:
    """Emit the operator on ``(tokens, rank + 2 * state)`` float32."""
    cols = int(x.ty.shape[1])
    spec = RmsNormPartsSpec(em.dynamic, rank, (cols - rank) // 2, eps, batched=em.batched)
    out = relax.TensorType((em.tokens, cols), "float32")
    return em.call(define(spec), [x], [out])[0]
