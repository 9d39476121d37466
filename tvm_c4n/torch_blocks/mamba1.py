"""Mamba-1's mixer in torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tvm_c4n.model.blocks import Mamba1
from tvm_c4n.torch_blocks.path import Ops, Path, Scan, Stop


def mamba1(
    block: Mamba1, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one mixer. What is no longer needed is let go of: windows are large."""
    xz = yield Stop("in_proj", normed)
    del normed
    x, z = xz.chunk(2, dim=-1)
    x = ops.conv(x, tensors["conv1d.weight"], tensors.get("conv1d.bias"))
    z = z.contiguous()  # a view would keep all of xz
    del xz
    low = yield Stop("x_proj", x)
    step, bc = low.split([block.dt_rank, 2 * block.d_state], dim=-1)
    if block.inner_eps is not None:
        step, *both = (
            ops.rms_norm(part, None, block.inner_eps) for part in (step, *bc.chunk(2, dim=-1))
        )
        bc = torch.cat(both, -1)
    dt = yield Stop("dt_proj", step)
    scan = Scan(tensors["A_log"], tensors["dt_proj.bias"], tensors["D"])
    y = ops.selective_scan(x, dt, bc, z, scan)
    del x, dt, bc, z, low, step
    return (yield Stop("out_proj", y, hidden))
