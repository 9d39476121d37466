"""Mamba-1's mixer in Relax."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.model.blocks import Mamba1
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import conv1d, rms_norm_parts, selective_scan
from tvm_c4n.sparsity import INT_BITS


def mamba1(block: Mamba1, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one mixer; returns the new residual stream."""
    # A is as exact as what it is multiplied by.
    half = to.weight("dt_proj").dtype in INT_BITS

    def decay_rates(a_log: NDArray[np.float32]) -> NDArray[np.float32 | np.uint16]:
        a = np.ascontiguousarray(-np.exp(a_log.astype(np.float64)).T, np.float32)
        return a.astype(np.float16).view(np.uint16) if half else a

    taps = to.converted("conv1d.weight", lambda weight: weight[:, 0].T)
    bias = to.vector("conv1d.bias") if block.conv_bias else to.zeros(block.d_inner)
    a, skip = to.converted("A_log", decay_rates), to.vector("D")

    xz = to.linear("in_proj", normed)
    x = to.update("conv", lambda past, at: conv1d.emit(to.em, xz, taps, bias, past, at))
    bc = to.linear("x_proj", x)
    if block.inner_eps is not None:
        bc = rms_norm_parts.emit(to.em, bc, block.dt_rank, block.inner_eps)
    dt = to.linear("dt_proj", bc, bias=to.vector("dt_proj.bias"))
    y = to.update(
        "ssm", lambda state, at: selective_scan.emit(to.em, (dt, x, bc, xz), a, skip, state, at)
    )
    return to.linear("out_proj", y, residual=h)
