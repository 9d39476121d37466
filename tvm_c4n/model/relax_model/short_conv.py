"""LFM2's gated convolution in Relax."""

from __future__ import annotations

from typing import Any

from tvm_c4n.model.blocks import ShortConv
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter
from tvm_c4n.ops import conv1d


def short_conv(block: ShortConv, to: BlockEmitter, normed: Any, h: Any) -> Any:
    """Emit one block; returns the new residual stream."""
    taps = to.converted("conv.weight", lambda weight: weight[:, 0].T)
    bias = to.vector("conv.bias") if block.bias else to.zeros(block.d_model)
    bcx = to.linear("in_proj", normed)
    y = to.update(
        "conv", lambda past, at: conv1d.emit(to.em, bcx, taps, bias, past, at, gated=True)
    )
    return to.linear("out_proj", y, residual=h)
