"""The gated delta net, token by token: equation 10 of Yang, Kautz and Hatamizadeh 2024.

Follows the slow path of `transformers.Qwen3_5ForCausalLM`.
"""

from __future__ import annotations

import numpy as np

from tvm_c4n.model.blocks import DeltaNet
from tvm_c4n.model.blocks.delta_net import UNIT_EPS
from tvm_c4n.model.reference.formulas import (
    Array,
    causal_conv,
    rms_norm,
    sigmoid,
    silu,
    softplus,
)
from tvm_c4n.model.reference.tensors import States, Tensors


def delta_net(block: DeltaNet, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one mixer: (t, h) -> (t, h); advances its states."""
    tokens, keys = len(u), block.keys
    qkv, z, a, b = (tensors.linear(f"in_proj_{name}", u) for name in ("qkv", "z", "a", "b"))
    qkv, states["conv_qkv"] = causal_conv(qkv, tensors["conv1d.weight"], states["conv_qkv"])
    q, k, v = np.split(silu(qkv), [keys, 2 * keys], axis=1)
    v = v.reshape(tokens, block.heads, -1)  # t k p
    # Heads of values that share queries and keys are next to each other.
    shared = block.heads // block.key_heads
    q, k = (
        np.repeat(_unit(x.reshape(tokens, block.key_heads, -1)), shared, axis=1) for x in (q, k)
    )  # t k n
    q = q / np.sqrt(np.asarray(block.key_dim, u.dtype))
    decay = np.exp(-np.exp(tensors["A_log"]) * softplus(a + tensors["dt_bias"]))  # t k
    beta = sigmoid(b)
    state, out = states["delta"], np.empty_like(v)
    for t in range(tokens):
        state = decay[t][:, None, None] * state
        known = np.einsum("kn,knp->kp", k[t], state)
        correction = beta[t][:, None] * (v[t] - known)
        state = state + k[t][:, :, None] * correction[:, None]
        out[t] = np.einsum("kn,knp->kp", q[t], state)
    states["delta"] = state
    out = tensors["norm.weight"] * rms_norm(out, block.norm_eps)
    return tensors.linear("out_proj", out.reshape(tokens, -1) * silu(z))


def _unit(x: Array) -> Array:
    """Return heads of length one."""
    return np.asarray(x / np.sqrt((x * x).sum(axis=-1, keepdims=True) + UNIT_EPS))
