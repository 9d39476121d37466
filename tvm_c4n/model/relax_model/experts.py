"""The mixture of experts in Relax."""

from __future__ import annotations

from typing import Any

from tvm_c4n.model.blocks import Experts
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import c4n_linear, expert_linear, route, swiglu


def experts(block: Experts, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one block; returns the new residual stream."""
    em = to.em
    logits = c4n_linear.emit(em, normed, to.matrix(block.router))
    chosen, shares = route.emit(em, logits, block.chosen)
    gate, up = (
        expert_linear.emit(em, normed, to.weight(name), chosen, experts=block.experts)
        for name in ("expert_gate", "expert_up")
    )
    return expert_linear.emit(
        em,
        swiglu.emit(em, gate, up),
        to.weight("expert_down"),
        chosen,
        experts=block.experts,
        shares=shares,
        residual=h,
    )
