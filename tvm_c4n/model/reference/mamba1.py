"""Mamba-1's mixer: equations 2 and 4 and algorithm 2 of the Mamba paper.

Follows the slow path of `transformers.MambaForCausalLM` and `FalconMambaForCausalLM`.
"""

from __future__ import annotations

import numpy as np

from tvm_c4n.model.blocks import Mamba1
from tvm_c4n.model.reference.formulas import Array, causal_conv, rms_norm, silu, softplus
from tvm_c4n.model.reference.tensors import States, Tensors


def mamba1(block: Mamba1, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one mixer: (t, h) -> (t, h); advances its states."""
    xz = tensors.linear("in_proj", u)
    x, z = np.split(xz, 2, axis=1)
    x, states["conv"] = causal_conv(x, tensors["conv1d.weight"], states["conv"])
    if block.conv_bias:
        x = x + tensors["conv1d.bias"]
    x = silu(x)
    parts = np.split(
        tensors.linear("x_proj", x), [block.dt_rank, block.dt_rank + block.d_state], axis=1
    )
    if block.inner_eps is not None:
        parts = [rms_norm(part, block.inner_eps) for part in parts]
    step, b, c = parts
    delta = softplus(tensors.linear("dt_proj", step) + tensors["dt_proj.bias"])  # t d
    a = -np.exp(tensors["A_log"]).T  # n d
    state, y = states["ssm"], np.empty_like(x)
    for t in range(len(x)):
        state = np.exp(delta[t] * a) * state + b[t][:, None] * (delta[t] * x[t])
        y[t] = c[t] @ state
    states["ssm"] = state
    y += tensors["D"] * x
    return tensors.linear("out_proj", y * silu(z))
