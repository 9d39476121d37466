"""The MLP, with a gate or without."""

from __future__ import annotations

import numpy as np

from tvm_c4n.model.blocks import Mlp
from tvm_c4n.model.reference.formulas import Array, silu
from tvm_c4n.model.reference.tensors import States, Tensors


def mlp(block: Mlp, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one block: (t, h) -> (t, h); it has no states."""
    up = tensors.linear("up_proj", u)
    if block.gate is None:
        return tensors.linear("down_proj", np.maximum(up, 0) ** 2)
    return tensors.linear("down_proj", silu(tensors.linear("gate_proj", u)) * up)
