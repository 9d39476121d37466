"""The selective scan of whole windows in torch, step by step, for a GPU.

On the CPU these would be short calls that write and read all states: there it is compiled
(`compiled_scan.py`, whose arguments these are).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan(
    x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, a: Tensor, dt_bias: Tensor, skip: Tensor
) -> Tensor:
    """Scan windows as `tvm_c4n.pruning.calibration.compiled_scan.selective_scan` does."""
    delta = F.softplus(dt + dt_bias)
    driven = delta * x
    b, c = (side.transpose(1, 2)[..., None] for side in bc.chunk(2, dim=-1))  # w n t 1
    state, y = x.new_zeros(len(x), *a.shape), torch.empty_like(x)
    for t in range(x.shape[1]):
        state *= torch.exp(delta[:, t, None] * a)
        state.addcmul_(b[:, :, t], driven[:, t, None])
        torch.sum(state * c[:, :, t], 1, out=y[:, t])
    return y.addcmul_(skip, x).mul_(F.silu(z))
