"""Mamba-2's mixer in Relax."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvm_c4n.model.blocks import Mamba2
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import conv1d, rms_norm, ssd_scan


def mamba2(block: Mamba2, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one mixer; returns the new residual stream."""
    inner, em = block.d_inner, to.em
    conv = "conv1d.weight"
    sizes = [inner, block.bc_width // 2, block.bc_width // 2]
    factors = np.repeat(np.asarray(block.tap_factors, np.float32), sizes)
    taps_x = to.converted(conv, lambda w: w[:inner, 0].T * factors[:inner], part="x")
    taps_bc = to.converted(conv, lambda w: w[inner:, 0].T * factors[inner:], part="bc")
    if block.conv_bias:
        bias_x = to.converted("conv1d.bias", lambda bias: bias[:inner], part="x")
        bias_bc = to.converted("conv1d.bias", lambda bias: bias[inner:], part="bc")
    else:
        bias_x, bias_bc = to.zeros(inner), to.zeros(block.bc_width)
    a = to.converted("A_log", lambda a_log: -np.exp(a_log))
    vectors = (a, to.vector("dt_bias"), to.vector("D"))

    zx, bcdt = to.linear("in_proj", normed), to.linear("bcdt_proj", normed)
    x = to.update(
        "conv_x", lambda past, at: conv1d.emit(em, zx, taps_x, bias_x, past, at, first=inner)
    )
    bc = to.update("conv_bc", lambda past, at: conv1d.emit(em, bcdt, taps_bc, bias_bc, past, at))
    y = to.update(
        "ssm",
        lambda state, at: ssd_scan.emit(
            em, (x, bc, zx, bcdt), vectors, state, at, limits=block.limits
        ),
    )
    if block.norm_eps is not None:
        y = rms_norm.emit(em, y, to.vector("norm.weight"), block.norm_eps, groups=block.groups)
    return to.linear("out_proj", y, residual=h)
