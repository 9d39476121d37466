"""The MLP in Relax, with a gate or without."""

from __future__ import annotations

from typing import Any

from tvm_c4n.model.blocks import Mlp
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import relu_squared, swiglu


def mlp(block: Mlp, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one block; returns the new residual stream."""
    if block.gate is None:
        up = to.linear("up_proj", normed)
        return to.linear("down_proj", relu_squared.emit(to.em, up), residual=h)
    gate, up = to.linear("gate_proj", normed), to.linear("up_proj", normed)
    return to.linear("down_proj", swiglu.emit(to.em, gate, up), residual=h)
