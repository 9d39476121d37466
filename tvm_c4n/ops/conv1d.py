"""Causal depthwise convolution over time, reading a part of in_proj's output.

Mamba's has SiLU: ``y[t, d] = silu(bias[d] + sum_j weight[j, d] * s[t + j, d])``, where s is the
state (the last ``width - 1`` inputs) followed by the new inputs: x in Mamba-1, and x, B and C
together in Mamba-2. The state is one tensor for all layers and is updated in place.

LFM2's is *gated*: in_proj gives B, C and x, the inputs are ``B x``, and C takes the place of SiLU:
``y[t, d] = C[t, d] * (bias[d] + sum_j weight[j, d] * s[t + j, d])``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.slots import declare_index, declare_state, sequences
from tvm_c4n.ops.spec import ConvSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def declare(spec: ConvSpec, tokens: Any) -> tuple[Any, ...]:
    """Declare the arguments.

    Returns
    -------
    x, weight, bias, state, index, out
        x ``(tokens, input_width)`` of which `channels` columns are read (gated: three times as
        many, B, C and x), weight
        ``(width, channels)``, bias ``(channels,)``, state ``(layers, width - 1, channels)`` and
        its `StateIndex`, out ``(tokens, channels)``.
    """
    x = declare_or_bind("x", (tokens, spec.input_width))
    weight = declare_or_bind("weight", (spec.width, spec.channels))
    bias = declare_or_bind("bias", (spec.channels,))
    state = declare_state(spec, "state", (spec.layers, spec.width - 1, spec.channels))
    index = declare_index(spec)
    out = declare_or_bind("out", (tokens, spec.channels))
    return x, weight, bias, state, index, out


def columns(spec: ConvSpec) -> tuple[int, int, int]:
    """Return the columns of x at which B, C and x begin; without gates all are that of x."""
    if not spec.gated:
        return spec.first, spec.first, spec.first
    return spec.first, spec.first + spec.channels, spec.first + 2 * spec.channels


def define(spec: ConvSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""
    history = spec.width - 1
    b, c, first = columns(spec)

    def body() -> None:
        tokens = tokens_of(spec)
        x, weight, bias, state, index, out = declare(spec, tokens)
        texts, length = sequences(index.slots, tokens)

        with loop(texts) as s, T.serial(spec.channels) as d:
            outer = index(s)

            def taken(t: Any) -> Any:
                return x[t, b + d] * x[t, first + d] if spec.gated else x[t, first + d]

            def sequence(t: Any) -> Any:
                old = state[(*outer, T.min(t, history - 1), d)]
                return T.if_then_else(t < history, old, taken(s + T.max(t - history, 0)))

            with loop(length) as t:
                acc = local((1,), "float32")
                T.buffer_store(acc, bias[d], [0])
                with T.serial(spec.width) as j:
                    T.buffer_store(acc, acc[0] + weight[j, d] * sequence(t + j), [0])
                sigmoid = T.float32(1) + T.exp(T.float32(0) - acc[0])
                y = acc[0] * x[s + t, c + d] if spec.gated else acc[0] / sigmoid
                T.buffer_store(out, y, [s + t, d])
            # Ascending: entry j reads what came `length` later, at or after state entry j.
            with T.serial(history) as j:
                T.buffer_store(state, sequence(length + j), [*outer, j, d])

    return build(spec, "conv1d", body)


def oracle(
    x: NDArray[np.floating[Any]],
    weight: NDArray[np.floating[Any]],
    bias: NDArray[np.floating[Any]],
    state: NDArray[np.floating[Any]],
    *,
    gated: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute one layer in float64.

    Parameters
    ----------
    x : ndarray, (tokens, channels)
        Gated: (tokens, 3 channels), B, C and x.
    weight : ndarray, (width, channels)
    bias : ndarray, (channels,)
    state : ndarray, (width - 1, channels)

    Returns
    -------
    y : ndarray, (tokens, channels)
    state : ndarray, (width - 1, channels)
    """
    new, gate = x.astype(np.float64), np.ones(1)
    if gated:
        b, gate, new = np.split(new, 3, axis=1)
        new = b * new
    sequence = np.concatenate([state, new]).astype(np.float64)
    y = bias + sum(weight[j] * sequence[j : j + len(x)] for j in range(len(weight)))
    return (gate * y if gated else y / (1 + np.exp(-y))), sequence[len(x) :]


def emit(
    em: Emitter,
    x: Any,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    state: Any,
    layer: int,
    *,
    first: int = 0,
    gated: bool = False,
) -> tuple[Any, Any]:
    """Emit the operator; returns y ``(tokens, channels)`` and the updated state.

    `x` is ``(tokens, width)``, of which `channels` columns from `first` on are read, with `gated`
    three times as many; `weight` is ``(width, channels)``; the state variable must not be used
    afterwards.
    """
    width, channels = weight.shape
    layers, given = int(state.ty.shape[0]), int(x.ty.shape[1])
    spec = ConvSpec(em.dynamic, channels, width, layers, given, first, gated, batched=em.batched)
    inputs = [x, em.constant(weight), em.constant(bias), state, *em.index(layer)]
    out = [state.ty, relax.TensorType((em.tokens, channels), "float32")]
    new_state, y = em.call(define(spec), inputs, out, inplace=3)
    return y, new_state
