"""Mamba-2's mixer, token by token: equation 2 of the Mamba-2 paper with one decay a head.

Follows `transformers.Mamba2ForCausalLM`, whose norm is grouped since version 5.
"""

from __future__ import annotations

import numpy as np

from tvm_c4n.model.blocks import Mamba2
from tvm_c4n.model.reference.formulas import Array, causal_conv, rms_norm, silu, softplus
from tvm_c4n.model.reference.tensors import States, Tensors


def mamba2(block: Mamba2, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one mixer: (t, h) -> (t, h); advances its states."""
    tokens, inner = len(u), block.d_inner
    z, x = np.split(tensors.linear("in_proj", u), 2, axis=1)
    bc, dt = np.split(tensors.linear("bcdt_proj", u), [block.bc_width], axis=1)
    past = np.concatenate([states["conv_x"], states["conv_bc"]], axis=1)
    sizes = [inner, block.bc_width // 2, block.bc_width // 2]
    taps = tensors["conv1d.weight"] * np.repeat(block.tap_factors, sizes)[:, None, None]
    y, past = causal_conv(np.concatenate([x, bc], axis=1), taps.astype(u.dtype), past)
    states["conv_x"], states["conv_bc"] = np.split(past, [inner], axis=1)
    if block.conv_bias:
        y = y + tensors["conv1d.bias"]
    x, bc = np.split(silu(y), [inner], axis=1)
    x = x.reshape(tokens, block.heads, block.head_dim)  # t k p
    shared = bc.reshape(tokens, 2, block.groups, block.d_state)
    # Heads of a group are next to each other.
    b, c = np.repeat(shared, block.heads // block.groups, axis=2).transpose(1, 0, 2, 3)  # t k n
    delta = np.clip(softplus(dt + tensors["dt_bias"]), *block.limits)  # t k
    a = -np.exp(tensors["A_log"])
    state, out = states["ssm"], np.empty_like(x)
    for t in range(tokens):
        driven = b[t][:, :, None] * (delta[t][:, None] * x[t])[:, None]  # k n p
        state = np.exp(delta[t] * a)[:, None, None] * state + driven
        out[t] = (c[t][:, :, None] * state).sum(axis=1)
    states["ssm"] = state
    out = (out + tensors["D"][:, None] * x).reshape(tokens, inner) * silu(z)
    if block.norm_eps is not None:
        grouped = out.reshape(tokens, block.groups, -1)
        out = rms_norm(grouped, block.norm_eps).reshape(tokens, inner) * tensors["norm.weight"]
    return tensors.linear("out_proj", out)
