"""Activations to int8: ``q = round(x / s)`` with ``s = max|x| / 127`` for each group of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import QuantizeSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of

# The largest magnitude of a quantised activation: -128 is not used, so that the range is symmetric.
TOP = 127.0


def declare(spec: QuantizeSpec, tokens: Any) -> tuple[Any, Any, Any]:
    """Declare x ``(tokens, input_width)``, q ``(tokens, padded)`` int8 and the scales.

    The last two are as wide for each of the parts.
    """
    width = spec.parts * spec.padded
    return (
        declare_or_bind("x", (tokens, spec.input_width)),
        declare_or_bind("q", (tokens, width), "int8"),
        declare_or_bind("scales", (tokens, width // spec.group)),
    )


def define(spec: QuantizeSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        x, q, scales = declare(spec, tokens)
        groups = spec.padded // spec.group
        with loop(tokens) as m, T.serial(spec.parts * groups) as s:

            def element(i: Any) -> Any:
                column = s % groups * spec.group + i
                inside = x[m, s // groups * spec.cols + T.min(column, spec.cols - 1)]
                return T.if_then_else(column < spec.cols, inside, T.float32(0))

            top = local((1,), "float32")
            T.buffer_store(top, T.float32(0), [0])
            with T.serial(spec.group) as i:
                value = element(i)
                T.buffer_store(top, T.max(top[0], T.max(value, T.float32(0) - value)), [0])
            T.buffer_store(scales, top[0] / T.float32(TOP), [m, s])
            with T.serial(spec.group) as i:
                inverse = T.if_then_else(top[0] > T.float32(0), T.float32(TOP) / top[0], 0.0)
                rounded = T.nearbyint(element(i) * inverse)
                T.buffer_store(q, T.cast(rounded, "int8"), [m, s * spec.group + i])

    return build(spec, "quantize", body)


def oracle(
    x: NDArray[np.floating[Any]], spec: QuantizeSpec
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Quantise in float64: q ``(tokens, parts * padded)`` and scales ``(tokens, groups)``."""
    wide = np.zeros((len(x), spec.parts, spec.padded))
    wide[:, :, : spec.cols] = x.reshape(len(x), spec.parts, spec.cols)
    groups = wide.reshape(len(x), -1, spec.group)
    top = np.abs(groups).max(2)
    inverse = np.divide(TOP, top, out=np.zeros_like(top), where=top > 0)
    q = np.rint(groups * inverse[:, :, None]).astype(np.int8)
    return q.reshape(len(x), -1), top / TOP


def emit(em: Emitter, x: Any, spec: QuantizeSpec) -> list[Any]:
    """Emit the operator; returns q and scales."""
    width = spec.parts * spec.padded
    out = [
        relax.TensorType((em.tokens, width), "int8"),
        relax.TensorType((em.tokens, width // spec.group), "float32"),
    ]
    return em.call(define(spec), [x], out)
