"""What lies between projections in calibration: fast, without gradients, many windows at once.

Works on float32. Axis letters: see `tvm_c4n.model`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.pruning.calibration import step_scan
from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.torch_blocks import Delta, Scan, Ssd

# Tokens that go through a layer or a product together: the temporaries stay small, and float32 sums
# of a few thousand terms keep enough digits.
BATCH_TOKENS = 8192


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last axis."""
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, *, activated: bool = True) -> Tensor:
    """Causal convolution of every channel, and SiLU: (b, t, d) -> (b, t, d)."""
    taps = weight[:, 0].T.contiguous()  # k d
    out = torch.empty_like(x)
    for rows in _batches(x):
        source, y = x[rows], out[rows]
        torch.mul(source, taps[-1], out=y)
        if bias is not None:
            y += bias
        for back in range(1, min(len(taps), x.shape[1])):
            y[:, back:].addcmul_(source[:, :-back], taps[-1 - back])
        if activated:
            F.silu(y, inplace=True)
    return out


def selective_scan(x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, p: Scan) -> Tensor:
    """Scan selectively, then skip and gate: all (b, t, d) but bc (b, t, 2n); see `Scan`."""
    a = -torch.exp(p.a_log).T.contiguous()  # n d
    if not on_cpu(x):
        return step_scan.selective_scan(x, dt, bc, z, a, p.dt_bias, p.skip)
    from tvm_c4n.pruning.calibration import compiled_scan  # a GPU needs no compiler

    return compiled_scan.selective_scan(x, dt, bc, z, a, p.dt_bias, p.skip)


def ssd_scan(x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, p: Ssd) -> Tensor:
    """Scan as Mamba-2 does, then skip and gate; see `Ssd`."""
    parts = [p.scan(x[rows], dt[rows], bc[rows], z[rows]) for rows in _batches(x)]
    return torch.cat(parts)


def delta_rule(qkv: Tensor, a: Tensor, b: Tensor, p: Delta) -> Tensor:
    """Correct and read the states of a gated delta net; see `Delta`."""
    return torch.cat([p.rule(qkv[rows], a[rows], b[rows]) for rows in _batches(qkv)])


def _batches(x: Tensor) -> Iterator[slice]:
    """Slices of whole windows of about `BATCH_TOKENS` tokens."""
    together = max(1, BATCH_TOKENS // x.shape[1])
    for first in range(0, len(x), together):
        yield slice(first, first + together)
