"""Attention, token by token: equation 1 of Vaswani et al. 2017 over all tokens so far."""

from __future__ import annotations

import numpy as np

from tvm_c4n.errors import C4nError
from tvm_c4n.model.blocks import Attention
from tvm_c4n.model.blocks.attention import RING_BLOCK
from tvm_c4n.model.reference.formulas import Array, rms_norm, rotate, sigmoid
from tvm_c4n.model.reference.tensors import States, Tensors


def attention(block: Attention, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one block: (t, h) -> (t, h); advances its states."""
    first = int(states["position"][0])
    after = first + len(u)
    if after > block.context:
        raise C4nError(f"a text of {after} tokens: this model reads {block.context} at most")
    q, k, v = (
        tensors.linear(name, u).reshape(len(u), -1, block.head_dim)
        for name in ("q_proj", "k_proj", "v_proj")
    )  # t k p
    gate = None
    if block.gated:
        q, gate = np.moveaxis(q.reshape(len(q), block.heads, 2, -1), 2, 0)
    if block.head_norms is not None:
        norms = zip((q, k), block.head_norms, strict=True)
        q, k = (norm.factors(tensors[norm.weight]) * rms_norm(x, norm.eps) for x, norm in norms)
    if block.theta is not None:
        q, k = (rotate(x, first, block.theta, block.rotated) for x in (q, k))
    keys, values = states["keys"], states["values"]
    new, seen = (np.divmod(np.arange(*span), RING_BLOCK) for span in ((first, after), (0, after)))
    keys[:, new[0], :, new[1]] = k
    values[:, new[0], new[1]] = v.swapaxes(0, 1)
    k, v = keys[:, seen[0], :, seen[1]], values[:, seen[0], seen[1]]  # s k p, k s p
    per_group = block.heads // block.kv_heads
    out = np.empty_like(q)
    for t in range(len(u)):
        for head in range(block.heads):
            known, group = first + t + 1, head // per_group
            scores = block.scale * (k[:known, group] @ q[t, head])
            weights = np.exp(scores - scores.max())
            out[t, head] = weights @ v[group, :known] / weights.sum()
    states["position"] = states["position"] + len(u)
    if gate is not None:
        out = out * sigmoid(gate)
    return tensors.linear("o_proj", out.reshape(len(u), -1))
