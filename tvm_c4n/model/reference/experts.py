"""The mixture of experts, token by token: equations of Shazeer et al. 2017, no noise."""

from __future__ import annotations

import numpy as np

from tvm_c4n.model.blocks import Experts
from tvm_c4n.model.reference.formulas import Array, silu
from tvm_c4n.model.reference.tensors import States, Tensors


def experts(block: Experts, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one block: (t, h) -> (t, h); it has no states."""
    logits = u @ tensors[block.router].T
    gate, up, down = (
        tensors[name].reshape(block.experts, -1, tensors[name].shape[1])
        for name in (block.gate, block.up, block.down)
    )
    out = np.zeros_like(u)
    for t, x in enumerate(u):
        chosen = np.argsort(-logits[t], kind="stable")[: block.chosen]
        shares = np.exp(logits[t, chosen] - logits[t].max())
        for e, share in zip(chosen, shares / shares.sum(), strict=True):
            out[t] += share * (down[e] @ (silu(gate[e] @ x) * (up[e] @ x)))
    return out
