"""Mamba-2's scan (Dao and Gu 2024) with softplus, skip connection and gate.

For each token t, head k of group g = k // (heads / groups), channel p of the head, and S states::

    delta = clamp(softplus(dt[t, k] + dt_bias[k]), low, high)
    h[k, s, p] = exp(delta * a[k]) * h[k, s, p] + delta * B[t, g, s] * x[t, k, p]
    y[t, k, p] = (sum_s C[t, g, s] * h[k, s, p] + D[k] * x[t, k, p]) * silu(z[t, k, p])

in_proj's rows of z and x are one product, those of B, C and dt another, for they are not pruned
alike. z and dt are read from these, x, B and C from what the convolution makes of them, so no split
is ever computed. The decay is one number a head. A head's state is one block of memory, in
which the channels are contiguous and fill the vector lanes: no sum goes across lanes.

A float16 state is rounded once a call; between the tokens of a call it is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.slots import declare_index, declare_state, sequences
from tvm_c4n.ops.spec import NO_LIMIT, SsdSpec
from tvm_c4n.ops.tir import (
    build,
    declare_or_bind,
    load,
    local,
    loop,
    store,
    to_float,
    tokens_of,
    typed,
)


def declare(spec: SsdSpec, tokens: Any) -> tuple[Any, ...]:
    """Declare the arguments.

    Returns
    -------
    x, bc, zx, bcdt, a, dt_bias, d, state, index, out
        x ``(tokens, inner)`` and bc ``(tokens, 2 groups S)``, convolved; zx ``(tokens, 2 inner)``,
        of which z is read, and bcdt ``(tokens, 2 groups S + heads)``, of which dt is; a, dt_bias
        and d ``(heads,)``; state ``(layers, heads, S, P)`` and its `StateIndex`; out
        ``(tokens, inner)``; float32. A float16 state comes as its bits, uint16: OpenCL need not
        have halves.
    """
    x = declare_or_bind("x", (tokens, spec.inner))
    bc = declare_or_bind("bc", (tokens, spec.bc_width))
    zx = declare_or_bind("zx", (tokens, 2 * spec.inner))
    bcdt = declare_or_bind("bcdt", (tokens, spec.bc_width + spec.heads))
    a, bias, d = (declare_or_bind(name, (spec.heads,)) for name in ("a", "dt_bias", "d"))
    shape = (spec.layers, spec.heads, spec.state, spec.head_dim)
    state = declare_state(spec, "state", shape, "uint16" if spec.half else "float32")
    index = declare_index(spec)
    out = declare_or_bind("out", (tokens, spec.inner))
    return x, bc, zx, bcdt, a, bias, d, state, index, out


def load_state(state: Any, outer: tuple[Any, ...], start: Any, lanes: int) -> Any:
    """Read `lanes` elements of a state as float32."""
    found = load(state, outer, start, lanes)
    if str(state.dtype) == "float32":
        return found
    return to_float(T.reinterpret(typed("float16", lanes), found), lanes)


def store_state(state: Any, outer: tuple[Any, ...], start: Any, lanes: int, value: Any) -> None:
    """Write `lanes` elements of a state."""
    if str(state.dtype) != "float32":
        value = T.reinterpret(typed("uint16", lanes), T.cast(value, typed("float16", lanes)))
    store(state, outer, start, lanes, value)


def clamped(spec: SsdSpec, delta: Any, limit: Any) -> Any:
    """Return delta within its limits; `limit` makes a constant of a float."""
    if spec.low > 0:
        delta = T.max(delta, limit(spec.low))
    return delta if spec.high >= NO_LIMIT else T.min(delta, limit(spec.high))


def columns_of(spec: SsdSpec, head: Any) -> tuple[Any, Any]:
    """Return the columns of bc at which a head's B and C begin."""
    group = head // (spec.heads // spec.groups)
    b = group * spec.state
    return b, b + spec.groups * spec.state


def define(spec: SsdSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""
    zero, one = T.float32(0), T.float32(1)

    def body() -> None:
        tokens = tokens_of(spec)
        source, bc, zx, bcdt, a, bias, skip, state, index, out = declare(spec, tokens)
        texts, length = sequences(index.slots, tokens)
        with loop(texts) as first, T.serial(spec.heads) as k, T.serial(spec.head_dim) as p:
            outer = index(first)
            h, acc = local((spec.state,)), local((1,))
            b, c = columns_of(spec, k)
            column = k * spec.head_dim + p
            with T.serial(spec.state) as s:
                T.buffer_store(h, load_state(state, (*outer, k, s), p, 1), [s])
            with loop(length) as at:
                t = first + at
                raw = T.bind(bcdt[t, spec.bc_width + k] + bias[k])
                tail = T.log(one + T.exp(zero - T.max(raw, zero - raw)))
                delta = T.bind(clamped(spec, T.max(raw, zero) + tail, T.float32))
                decay = T.bind(T.exp(delta * a[k]))
                x = T.bind(source[t, column])
                T.buffer_store(acc, skip[k] * x, [0])
                with T.serial(spec.state) as s:
                    T.buffer_store(h, decay * h[s] + delta * bc[t, b + s] * x, [s])
                    T.buffer_store(acc, acc[0] + bc[t, c + s] * h[s], [0])
                z = T.bind(zx[t, column])
                T.buffer_store(out, acc[0] * (z / (one + T.exp(zero - z))), [t, column])
            with T.serial(spec.state) as s:
                store_state(state, (*outer, k, s), p, 1, h[s])

    return build(spec, "ssd_scan", body)


def oracle(
    spec: SsdSpec,
    x: NDArray[np.floating[Any]],
    bc: NDArray[np.floating[Any]],
    z: NDArray[np.floating[Any]],
    dt: NDArray[np.floating[Any]],
    a: NDArray[np.floating[Any]],
    dt_bias: NDArray[np.floating[Any]],
    d: NDArray[np.floating[Any]],
    state: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute one layer in float64.

    Parameters
    ----------
    spec : SsdSpec
    x, z : ndarray, (tokens, inner)
    bc : ndarray, (tokens, 2 groups S)
    dt : ndarray, (tokens, heads)
    a, dt_bias, d : ndarray, (heads,)
    state : ndarray, (heads, S, P)

    Returns
    -------
    y : ndarray, (tokens, inner)
    state : ndarray, (heads, S, P)
    """
    tokens, per_group = len(x), spec.heads // spec.groups
    h, wide = state.astype(np.float64), x.astype(np.float64)
    wide = wide.reshape(tokens, spec.heads, spec.head_dim)
    shared = bc.astype(np.float64).reshape(tokens, 2, spec.groups, spec.state)
    b, c = np.repeat(shared, per_group, axis=2).transpose(1, 0, 2, 3)
    raw = dt.astype(np.float64) + dt_bias
    delta = np.clip(np.logaddexp(0, raw), spec.low, spec.high)
    y = np.zeros(wide.shape)
    for t in range(tokens):
        driven = np.einsum("k,ks,kp->ksp", delta[t], b[t], wide[t])
        h = np.exp(delta[t] * a)[:, None, None] * h + driven
        y[t] = np.einsum("ks,ksp->kp", c[t], h) + d[:, None] * wide[t]
    gate = z.astype(np.float64)
    return y.reshape(tokens, spec.inner) * (gate / (1 + np.exp(-gate))), h


def emit(
    em: Emitter,
    inputs: tuple[Any, Any, Any, Any],
    vectors: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    state: Any,
    layer: int,
    *,
    limits: tuple[float, float] = (0.0, NO_LIMIT),
) -> tuple[Any, Any]:
    """Emit the operator; returns y ``(tokens, inner)`` and the updated state.

    Parameters
    ----------
    em : Emitter
    inputs : tuple of relax.Expr
        x, bc, zx and bcdt, see `declare`.
    vectors : tuple of ndarray, (heads,)
        a, which is ``-exp(A_log)``, dt_bias and d.
    state : relax.Var
        ``(layers, heads, S, P)``, float32, or uint16 for float16; it must not be used afterwards.
    layer : int
    limits : tuple of float
        The least and the largest delta; infinity is no limit.
    """
    heads, states, head_dim = (int(n) for n in list(state.ty.shape)[-3:])
    low, high = limits
    spec = SsdSpec(
        dynamic=em.dynamic,
        heads=heads,
        head_dim=head_dim,
        state=states,
        layers=int(state.ty.shape[0]),
        groups=int(inputs[1].ty.shape[1]) // (2 * states),
        low=max(low, 0.0),
        high=min(high, NO_LIMIT),
        half=str(state.ty.dtype) == "uint16",
        batched=em.batched,
    )
    constants = [em.constant(vector) for vector in vectors]
    arguments = [*inputs, *constants, state, *em.index(layer)]
    out = [state.ty, relax.TensorType((em.tokens, spec.inner), "float32")]
    new_state, y = em.call(define(spec), arguments, out, inplace=7)
    return y, new_state
