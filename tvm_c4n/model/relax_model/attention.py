"""Attention in Relax."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvm_c4n.model.blocks import Attention
from tvm_c4n.model.description import Norm
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import attention as operator
from tvm_c4n.ops import rms_norm, rotary


def attention(block: Attention, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one block; returns the new residual stream."""
    em, position = to.em, to.read("position")
    angles = None
    if block.theta is not None:
        theta, width = block.theta, block.rotated
        name = f"rotary {theta} {width}"
        turns = to.made(name, lambda: rotary.frequencies(width, theta))
        angles = to.once(name, lambda: rotary.emit(em, position, turns))
    q, k, v = (to.linear(name, normed) for name in ("q_proj", "k_proj", "v_proj"))
    gates = q if block.gated else None
    if block.head_norms is not None:
        norms = zip((q, k), block.head_norms, (block.heads, block.kv_heads), strict=True)
        q, k = (_normed(to, x, norm, heads) for x, norm, heads in norms)

    def attend(keys: Any, at: int) -> tuple[Any, Any]:
        def with_values(values: Any, _: int) -> tuple[Any, Any]:
            out, (new_keys, new_values) = operator.emit(
                em,
                (q, k, v),
                position,
                (keys, values),
                at,
                scale=block.scale,
                angles=angles,
                gates=gates,
            )
            return (out, new_keys), new_values

        found: tuple[Any, Any] = to.update("values", with_values)
        return found

    y = to.update("keys", attend)
    return to.linear("o_proj", y, residual=h)


def _normed(to: BlockEmitter, x: Any, norm: Norm, heads: int) -> Any:
    """Normalise each head by itself; all have one weight."""
    weight = to.converted(norm.weight, lambda one: np.tile(norm.factors(one), heads))
    return rms_norm.emit(to.em, x, weight, norm.eps, groups=heads)
