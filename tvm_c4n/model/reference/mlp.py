"""The gated MLP."""

from __future__ import annotations

from tvm_c4n.model.blocks import Mlp
from tvm_c4n.model.reference.formulas import Array, silu
from tvm_c4n.model.reference.tensors import States, Tensors


def mlp(block: Mlp, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one block: (t, h) -> (t, h); it has no states."""
    gate, up = (tensors.linear(name, u) for name in ("gate_proj", "up_proj"))
    return tensors.linear("down_proj", silu(gate) * up)
