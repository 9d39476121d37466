"""SwiGLU: ``silu(gate) * up``, the activation of a gated MLP (Shazeer 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import SwigluSpec
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of


def declare(spec: SwigluSpec, tokens: Any) -> tuple[tuple[Any, ...], Any]:
    """Declare the inputs and out ``(tokens, cols)``, float32.

    The inputs are gate and up ``(tokens, cols)``, or one tensor ``(tokens, 2 * cols)`` of both.
    """
    if spec.fused:
        inputs: tuple[Any, ...] = (declare_or_bind("gate_up", (tokens, 2 * spec.cols)),)
    else:
        inputs = tuple(declare_or_bind(name, (tokens, spec.cols)) for name in ("gate", "up"))
    return inputs, declare_or_bind("out", (tokens, spec.cols))


def gate_and_up(spec: SwigluSpec, inputs: tuple[Any, ...]) -> tuple[Any, Any, int]:
    """Return the tensor that begins with gate, the one that holds up, and where up begins."""
    return inputs[0], inputs[-1], spec.cols if spec.fused else 0


def define(spec: SwigluSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        inputs, out = declare(spec, tokens)
        gate, up, first = gate_and_up(spec, inputs)
        with loop(tokens) as t, T.serial(spec.cols) as i:
            value = gate[t, i]
            sigmoid = T.float32(1) / (T.float32(1) + T.exp(T.float32(0) - value))
            T.buffer_store(out, value * sigmoid * up[t, first + i], [t, i])

    return build(spec, "swiglu", body)


def oracle(gate: NDArray[np.floating[Any]], up: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute ``(tokens, cols)`` in float64."""
    wide = gate.astype(np.float64)
    return np.asarray(wide / (1 + np.exp(-wide)) * up, np.float64)


def emit(em: Emitter, gate: Any, up: Any = None) -> Any:
    """Emit the operator on gate and up ``(tokens, cols)``; without `up`, `gate` holds both.

    Two tensors are better for a decode step: the rows of both projections, the activation and what
    follows share one loop then.
    """
    width = int(gate.ty.shape[1])
    cols = width // 2 if up is None else width
    spec = SwigluSpec(em.dynamic, cols, fused=up is None, batched=em.batched)
    inputs = [gate] if up is None else [gate, up]
    out = relax.TensorType((em.tokens, spec.cols), "float32")
    return em.call(define(spec), inputs, [out])[0]
