"""LFM2's gated convolution in torch."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tvm_c4n.model.blocks import ShortConv
from tvm_c4n.torch_blocks.path import Ops, Path, Stop, scaled


def short_conv(
    block: ShortConv, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one block. What is no longer needed is let go of: windows are large."""
    bcx = yield Stop("in_proj", scaled(block, "in_proj", normed))
    del normed
    b, c, x = bcx.chunk(3, dim=-1)
    y = ops.conv(b * x, tensors["conv.weight"], tensors.get("conv.bias"), activated=False)
    y = c * y
    del bcx, b, c, x
    return (yield Stop("out_proj", y, hidden))
