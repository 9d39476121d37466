"""The mixture of experts in Relax."""

from __future__ import annotations

from typing import Any

from tvm_c4n.model.blocks import Experts
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import c4n_linear, expert_groups, expert_linear, grouped_linear, route, swiglu
from tvm_c4n.ops.emitter import Emitter


def experts(block: Experts, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one block; returns the new residual stream."""
    logits = c4n_linear.emit(to.em, normed, to.matrix(block.router))
    chosen, shares = route.emit(to.em, logits, block.chosen)
    if to.em.dynamic and not to.em.batched:
        return _by_expert(block, to, (normed, h), chosen, shares)
    return _by_token(block, to, (normed, h), chosen, shares)


def _by_token(
    block: Experts, to: BlockEmitter, streams: tuple[Any, Any], chosen: Any, shares: Any
) -> Any:
    """Emit products of one token after the other, each with its experts' matrices."""
    (normed, h), em = streams, to.em
    gate, up = (
        expert_linear.emit(em, normed, to.experts(name), chosen, experts=block.experts)
        for name in ("expert_gate", "expert_up")
    )
    return expert_linear.emit(
        em,
        swiglu.emit(em, gate, up),
        to.experts("expert_down"),
        chosen,
        experts=block.experts,
        shares=shares,
        residual=h,
    )


def _by_expert(
    block: Experts, to: BlockEmitter, streams: tuple[Any, Any], chosen: Any, shares: Any
) -> Any:
    """Emit products of one expert after the other, each with all of its tokens."""
    (normed, h), em = streams, to.em
    places, starts = expert_groups.emit_group(em, chosen, block.experts)
    pairs = Emitter(em.bb, em.tokens * block.chosen, em.constant)

    def product(name: str, inputs: list[Any]) -> Any:
        return grouped_linear.emit(pairs, inputs, to.experts(name), starts, block.experts)

    def spread(name: str) -> list[Any]:
        inputs = expert_linear.activations(em, normed, to.experts(name))
        return [expert_groups.emit_spread(em, values, places) for values in inputs]

    gate, up = (product(name, spread(name)) for name in ("expert_gate", "expert_up"))
    y = swiglu.emit(pairs, gate, up)
    inputs = expert_linear.activations(pairs, y, to.experts("expert_down"))
    return expert_groups.emit_mix(em, product("expert_down", inputs), places, shares, h)
