"""The gated delta rule (Yang, Kautz and Hatamizadeh 2024, equation 10) with softplus and sigmoid.

For each token t, and head h of values that shares queries and keys with its neighbours, as head
``g = h // (heads / key_heads)``::

    q', k' = q[t, g] / (|q[t, g]| sqrt(N)), k[t, g] / |k[t, g]|
    H = exp(a[h] softplus(alpha[t, h] + dt_bias[h])) H        (N, P)
    H = H + k' (sigmoid(beta[t, h]) (v[t, h] - k' H))
    y[t, h] = q' H

where |x| is ``sqrt(x . x + eps)``. The convolution makes queries, keys and values as one tensor,
which is read in place. A head's state is one block of memory, in which the channels of values are
contiguous and fill the vector lanes: no sum over keys goes across lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.slots import declare_index, declare_state, sequences
from tvm_c4n.ops.spec import DeltaSpec
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of


def declare(spec: DeltaSpec, tokens: Any) -> tuple[Any, ...]:
    """Declare the arguments.

    Returns
    -------
    qkv, alpha, beta, a, dt_bias, state, index, out
        qkv ``(tokens, 2 keys + inner)``, convolved; alpha and beta ``(tokens, heads)``; a and
        dt_bias ``(heads,)``; state ``(layers, heads, N, P)`` and its `StateIndex`; out
        ``(tokens, inner)``; float32.
    """
    qkv = declare_or_bind("qkv", (tokens, 2 * spec.keys + spec.inner))
    alpha, beta = (declare_or_bind(name, (tokens, spec.heads)) for name in ("alpha", "beta"))
    a, bias = (declare_or_bind(name, (spec.heads,)) for name in ("a", "dt_bias"))
    shape = (spec.layers, spec.heads, spec.key_dim, spec.head_dim)
    state = declare_state(spec, "state", shape)
    index = declare_index(spec)
    out = declare_or_bind("out", (tokens, spec.inner))
    return qkv, alpha, beta, a, bias, state, index, out


def key_head(spec: DeltaSpec, head: Any) -> Any:
    """Return the head of queries and keys that a head of values has."""
    return head // (spec.heads // spec.key_heads)


def define(spec: DeltaSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""
    zero, one = T.float32(0), T.float32(1)

    def body() -> None:
        tokens = tokens_of(spec)
        qkv, alpha, beta, a, bias, state, index, out = declare(spec, tokens)
        texts, length = sequences(index.slots, tokens)
        with loop(texts) as first, T.serial(spec.heads) as head, T.serial(spec.head_dim) as p:
            outer = (*index(first), head)
            h, sums = local((spec.key_dim,)), local((4,))
            q = key_head(spec, head) * spec.key_dim
            k, column = q + spec.keys, head * spec.head_dim + p
            with T.serial(spec.key_dim) as n:
                T.buffer_store(h, state[(*outer, n, p)], [n])
            with loop(length) as at:
                t = first + at
                for place in range(4):
                    T.buffer_store(sums, zero, [place])
                raw = T.bind(alpha[t, head] + bias[head])
                tail = T.log(one + T.exp(zero - T.max(raw, zero - raw)))
                decay = T.bind(T.exp(a[head] * (T.max(raw, zero) + tail)))
                # Step 1: the state decays, and what the key finds in it; squares of lengths.
                with T.serial(spec.key_dim) as n:
                    T.buffer_store(h, decay * h[n], [n])
                    T.buffer_store(sums, sums[0] + qkv[t, q + n] * qkv[t, q + n], [0])
                    T.buffer_store(sums, sums[1] + qkv[t, k + n] * qkv[t, k + n], [1])
                    T.buffer_store(sums, sums[2] + qkv[t, k + n] * h[n], [2])
                query = T.sqrt((sums[0] + T.float32(spec.eps)) * T.float32(spec.key_dim))
                unit = T.bind(one / T.sqrt(sums[1] + T.float32(spec.eps)))
                # Step 2: it is corrected, and read.
                wanted = qkv[t, 2 * spec.keys + column] - sums[2] * unit
                correction = T.bind(wanted * unit / (one + T.exp(zero - beta[t, head])))
                with T.serial(spec.key_dim) as n:
                    T.buffer_store(h, h[n] + qkv[t, k + n] * correction, [n])
                    T.buffer_store(sums, sums[3] + qkv[t, q + n] * h[n], [3])
                T.buffer_store(out, sums[3] / query, [t, column])
            with T.serial(spec.key_dim) as n:
                T.buffer_store(state, h[n], [*outer, n, p])

    return build(spec, "delta_rule", body)


def oracle(
    spec: DeltaSpec,
    qkv: NDArray[np.floating[Any]],
    alpha: NDArray[np.floating[Any]],
    beta: NDArray[np.floating[Any]],
    a: NDArray[np.floating[Any]],
    dt_bias: NDArray[np.floating[Any]],
    state: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute one layer in float64.

    Parameters
    ----------
    spec : DeltaSpec
    qkv : ndarray, (tokens, 2 keys + inner)
    alpha, beta : ndarray, (tokens, heads)
    a, dt_bias : ndarray, (heads,)
    state : ndarray, (heads, N, P)

    Returns
    -------
    y : ndarray, (tokens, inner)
    state : ndarray, (heads, N, P)
    """
    tokens, shared = len(qkv), spec.heads // spec.key_heads
    h, wide = state.astype(np.float64), qkv.astype(np.float64)
    *both, v = np.split(wide, [spec.keys, 2 * spec.keys], axis=1)
    q, k = (np.repeat(x.reshape(tokens, spec.key_heads, -1), shared, axis=1) for x in both)
    q, k = (x / np.sqrt((x**2).sum(-1, keepdims=True) + spec.eps) for x in (q, k))
    v = v.reshape(tokens, spec.heads, -1)
    decay = np.exp(a * np.logaddexp(0, alpha.astype(np.float64) + dt_bias))
    share = 1 / (1 + np.exp(-beta.astype(np.float64)))
    y = np.zeros(v.shape)
    for t in range(tokens):
        h = decay[t][:, None, None] * h
        correction = share[t][:, None] * (v[t] - np.einsum("kn,knp->kp", k[t], h))
        h = h + np.einsum("kn,kp->knp", k[t], correction)
        y[t] = np.einsum("kn,knp->kp", q[t], h) / np.sqrt(spec.key_dim)
    return y.reshape(tokens, spec.inner), h


def emit(
    em: Emitter,
    inputs: tuple[Any, Any, Any],
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]],
    state: Any,
    layer: int,
    *,
    key_heads: int,
    eps: float,
) -> tuple[Any, Any]:
    """Emit the operator; returns y ``(tokens, inner)`` and the updated state.

    Parameters
    ----------
    em : Emitter
    inputs : tuple of relax.Expr
        qkv, alpha and beta, see `declare`.
    vectors : tuple of ndarray, (heads,)
        a, which is ``-exp(A_log)``, and dt_bias.
    state : relax.Var
        ``(layers, heads, N, P)``; it must not be used afterwards.
    layer, key_heads : int
    eps : float
    """
    heads, key_dim, head_dim = (int(n) for n in list(state.ty.shape)[-3:])
    spec = DeltaSpec(
        dynamic=em.dynamic,
        heads=heads,
        head_dim=head_dim,
        key_heads=key_heads,
        key_dim=key_dim,
        layers=int(state.ty.shape[0]),
        eps=eps,
        batched=em.batched,
    )
    constants = [em.constant(vector) for vector in vectors]
    arguments = [*inputs, *constants, state, *em.index(layer)]
    out = [state.ty, relax.TensorType((em.tokens, spec.inner), "float32")]
    new_state, y = em.call(define(spec), arguments, out, inplace=5)
    return y, new_state
