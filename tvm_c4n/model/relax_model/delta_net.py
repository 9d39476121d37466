"""The gated delta net in Relax."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tvm_c4n.model.blocks import DeltaNet
from tvm_c4n.model.blocks.delta_net import UNIT_EPS
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import conv1d, delta_rule, rms_norm, swiglu


def delta_net(block: DeltaNet, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one mixer; returns the new residual stream."""
    em = to.em
    taps = to.converted("conv1d.weight", lambda weight: weight[:, 0].T)
    bias = to.zeros(taps.shape[1])
    vectors = to.converted("A_log", lambda a_log: -np.exp(a_log)), to.vector("dt_bias")
    weight = to.converted("norm.weight", lambda one: np.tile(one, block.heads))

    qkv, z, a, b = (to.linear(f"in_proj_{name}", normed) for name in ("qkv", "z", "a", "b"))
    qkv = to.update("conv_qkv", lambda past, at: conv1d.emit(em, qkv, taps, bias, past, at))
    rule = partial(delta_rule.emit, key_heads=block.key_heads, eps=UNIT_EPS)
    y = to.update("delta", lambda state, at: rule(em, (qkv, a, b), vectors, state, at))
    y = rms_norm.emit(em, y, weight, block.norm_eps, groups=block.heads)
    return to.linear("out_proj", swiglu.emit(em, z, y), residual=h)
