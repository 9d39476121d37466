"""Mamba-2's mixer in torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tvm_c4n.model.blocks import Mamba2
from tvm_c4n.torch_blocks.path import Ops, Path, Ssd, Stop, scaled


def mamba2(
    block: Mamba2, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one mixer. What is no longer needed is let go of: windows are large."""
    inner, weight, bias = block.d_inner, tensors["conv1d.weight"], tensors.get("conv1d.bias")
    times = block.tap_factors
    taps = torch.cat([f * w for f, w in zip(times[1:], weight[inner:].chunk(2), strict=True)])
    zx = yield Stop("in_proj", scaled(block, "in_proj", normed))
    z, x = zx.chunk(2, dim=-1)
    x = ops.conv(x, times[0] * weight[:inner], None if bias is None else bias[:inner])
    z = z.contiguous()  # a view would keep all of zx
    del zx
    bcdt = yield Stop("bcdt_proj", scaled(block, "bcdt_proj", normed))
    del normed
    bc, dt = bcdt.split([block.bc_width, block.heads], dim=-1)
    bc = ops.conv(bc, taps, None if bias is None else bias[inner:])
    ssd = Ssd(tensors["A_log"], tensors["dt_bias"], tensors["D"], block.groups, block.limits)
    y = ops.ssd_scan(x, dt, bc, z, ssd)
    del x, dt, bc, bcdt, z
    if block.norm_eps is not None:
        grouped = y.unflatten(-1, (block.groups, -1))
        y = ops.rms_norm(grouped, None, block.norm_eps).flatten(-2) * tensors["norm.weight"].to(
            y.dtype
        )
    return (yield Stop("out_proj", y, hidden))
