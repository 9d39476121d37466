"""Mamba-1's selective scan (Gu and Dao 2023, algorithm 2) with softplus, skip connection and gate.

For each token t and channel d, with N state elements::

    delta = softplus(dt[t, d])
    h[n, d] = exp(delta * A[n, d]) * h[n, d] + delta * B[t, n] * x[t, d]
    y[t, d] = (sum_n C[t, n] * h[n, d] + D[d] * x[t, d]) * silu(z[t, d])

B and C are read from x_proj's output (dt_rank | N | N columns) and z from the second half of
in_proj's output, so no split is ever computed. A is ``-exp(A_log)`` transposed: the channels are
contiguous and fill the vector lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.slots import declare_index, declare_state, sequences
from tvm_c4n.ops.spec import ScanSpec
from tvm_c4n.ops.tir import (
    build,
    declare_or_bind,
    load,
    local,
    loop,
    to_float,
    tokens_of,
    typed,
)


def declare(spec: ScanSpec, tokens: Any) -> tuple[Any, ...]:
    """Declare the arguments.

    Returns
    -------
    dt, x, bc, xz, a, d, state, index, out
        dt and x ``(tokens, channels)``; bc ``(tokens, dt_rank + 2 N)``; xz
        ``(tokens, 2 * channels)``; a ``(N, channels)``; d ``(channels,)``; state
        ``(layers, N, channels)`` and its `StateIndex`; out ``(tokens, channels)``; float32. A
        float16 a comes as its bits, uint16: OpenCL need not have halves.
    """
    dt = declare_or_bind("dt", (tokens, spec.channels))
    x = declare_or_bind("x", (tokens, spec.channels))
    bc = declare_or_bind("bc", (tokens, spec.dt_rank + 2 * spec.state))
    xz = declare_or_bind("xz", (tokens, 2 * spec.channels))
    a = declare_or_bind("a", (spec.state, spec.channels), "uint16" if spec.half else "float32")
    d = declare_or_bind("d", (spec.channels,))
    state = declare_state(spec, "state", (spec.layers, spec.state, spec.channels))
    index = declare_index(spec)
    out = declare_or_bind("out", (tokens, spec.channels))
    return dt, x, bc, xz, a, d, state, index, out


def decay_rates(spec: ScanSpec, a: Any, n: Any, start: Any, lanes: int) -> Any:
    """Read `lanes` elements of row `n` of A as float32."""
    found = load(a, (n,), start, lanes)
    if not spec.half:
        return found
    return to_float(T.reinterpret(typed("float16", lanes), found), lanes)


def define(spec: ScanSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""
    zero, one = T.float32(0), T.float32(1)

    def body() -> None:
        tokens = tokens_of(spec)
        dt, x, bc, xz, a, skip, state, index, out = declare(spec, tokens)
        texts, length = sequences(index.slots, tokens)
        with loop(texts) as s, loop(length) as at, T.serial(spec.channels) as c:
            t, outer = s + at, index(s)
            raw = dt[t, c]
            magnitude = T.max(raw, zero - raw)
            delta = T.bind(T.max(raw, zero) + T.log(one + T.exp(zero - magnitude)))
            acc = local((1,), "float32")
            T.buffer_store(acc, skip[c] * x[t, c], [0])
            with T.serial(spec.state) as n:
                decayed = T.exp(delta * decay_rates(spec, a, n, c, 1)) * state[(*outer, n, c)]
                h = decayed + delta * bc[t, spec.dt_rank + n] * x[t, c]
                T.buffer_store(state, h, [*outer, n, c])
                product = bc[t, spec.dt_rank + spec.state + n] * state[(*outer, n, c)]
                T.buffer_store(acc, acc[0] + product, [0])
            z = xz[t, spec.channels + c]
            T.buffer_store(out, acc[0] * (z / (one + T.exp(zero - z))), [t, c])

    return build(spec, "selective_scan", body)


def oracle(
    dt: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    b: NDArray[np.floating[Any]],
    c: NDArray[np.floating[Any]],
    z: NDArray[np.floating[Any]],
    a: NDArray[np.floating[Any]],
    d: NDArray[np.floating[Any]],
    state: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute one layer in float64.

    Parameters
    ----------
    dt, x, z : ndarray, (tokens, channels)
    b, c : ndarray, (tokens, N)
    a : ndarray, (N, channels)
    d : ndarray, (channels,)
    state : ndarray, (N, channels)

    Returns
    -------
    y : ndarray, (tokens, channels)
    state : ndarray, (N, channels)
    """
    h = state.astype(np.float64)
    y = np.zeros(x.shape)
    delta = np.logaddexp(0, dt.astype(np.float64))
    for t in range(len(x)):
        h = np.exp(delta[t] * a) * h + np.outer(b[t], delta[t] * x[t])
        y[t] = c[t] @ h + d * x[t]
    wide = z.astype(np.float64)
    return y * (wide / (1 + np.exp(-wide))), h


def emit(
    em: Emitter,
    inputs: tuple[Any, Any, Any, Any],
    a: NDArray[np.float32 | np.uint16],
    d: NDArray[np.float32],
    state: Any,
    layer: int,
) -> tuple[Any, Any]:
    """Emit the operator; returns y ``(tokens, channels)`` and the updated state.

    Parameters
    ----------
    em : Emitter
    inputs : tuple of relax.Expr
        dt, x, bc and xz, see `declare`.
    a : ndarray, (N, channels)
        float32, or the bits of float16.
    d : ndarray, (channels,)
    state : relax.Var
        ``(layers, N, channels)``; it must not be used afterwards.
    layer : int
    """
    states, channels = a.shape
    spec = ScanSpec(
        dynamic=em.dynamic,
        channels=channels,
        state=states,
        layers=int(state.ty.shape[0]),
        dt_rank=int(inputs[2].ty.shape[1]) - 2 * states,
        half=a.dtype == np.uint16,
        batched=em.batched,
    )
    arguments = [*inputs, em.constant(a), em.constant(d), state, *em.index(layer)]
    out = [state.ty, relax.TensorType((em.tokens, channels), "float32")]
    new_state, y = em.call(define(spec), arguments, out, inplace=6)
    return y, new_state
