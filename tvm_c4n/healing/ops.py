"""What lies between projections in training: with gradients, products in a dtype of its own.

The residual stream, norms, convolution and scan state are float32; what projections read has the
dtype of the products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.healing.scan import selective_scan as scan
from tvm_c4n.torch_blocks import Delta, Scan, Ssd


class TrainingOps:
    """The operations, for products in ``work``: see `tvm_c4n.torch_blocks.Ops`."""

    def __init__(self, work: torch.dtype) -> None:
        self.work = work

    def rms_norm(self, x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        """Normalise in float32."""
        return F.rms_norm(x.float(), (x.shape[-1],), weight, eps).to(self.work)

    def conv(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, *, activated: bool = True
    ) -> Tensor:
        """Convolve in float32, then SiLU."""
        x, taps, tokens = x.float(), weight[:, 0], x.shape[1]
        width = taps.shape[-1]
        padded = F.pad(x, (0, 0, width - 1, 0))
        out = padded[:, :tokens] * taps[:, 0]
        for k in range(1, width):
            out = out + padded[:, k : k + tokens] * taps[:, k]
        out = out if bias is None else out + bias
        return (F.silu(out) if activated else out).to(self.work)

    def selective_scan(self, x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, p: Scan) -> Tensor:
        """Scan with a float32 state."""
        a = -torch.exp(p.a_log).t().contiguous()
        y = scan(x, dt, p.dt_bias, a, bc.contiguous())
        y = (y.float() + x.float() * p.skip) * F.silu(z.float())
        return y.to(self.work)

    def ssd_scan(self, x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, p: Ssd) -> Tensor:
        """Scan in float32."""
        return p.scan(x.float(), dt.float(), bc.float(), z.float()).to(self.work)

    def delta_rule(self, qkv: Tensor, a: Tensor, b: Tensor, p: Delta) -> Tensor:
        """Correct and read states in float32."""
        return p.rule(qkv.float(), a.float(), b.float()).to(self.work)
