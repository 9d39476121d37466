"""Selective scan with a gradient, on the processor that the tensors are on.

h_t = exp(d_t A) h_{t-1} + d_t x_t B_t,  y_t = <h_t, C_t>,  d_t = softplus(dt_t + bias)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan(x: Tensor, dt: Tensor, bias: Tensor, a: Tensor, bc: Tensor) -> Tensor:
    """Scan windows from a state of zeros.

    Parameters
    ----------
    x, dt : (b, t, d)
        On a GPU bfloat16, and t divisible by 4.
    bias : (d,) float32
    a : (n, d) float32
        Negative.
    bc : (b, t, 2n)
        B, then C.

    Returns
    -------
    (b, t, d)
    """
    if x.is_cuda:
        from tvm_c4n.healing.triton_scan import Scan

        y: Tensor = Scan.apply(x, dt, bias, a, bc)
        return y
    # torch.compile cannot follow calls of such a kernel.
    if x.dtype == torch.float32 and not torch.compiler.is_compiling():
        from tvm_c4n.healing.compiled_scan import CompiledScan  # a GPU needs no compiler

        found: Tensor = CompiledScan.apply(x, F.softplus(dt + bias), a, bc)
        return found
    return scan_by_steps(x, dt, bias, a, bc)


def scan_by_steps(x: Tensor, dt: Tensor, bias: Tensor, a: Tensor, bc: Tensor) -> Tensor:
    """Step by step, differentiated by torch: slow, and the oracle of all kernels."""
    delta = F.softplus(dt + bias)
    b, c = bc.chunk(2, dim=-1)
    state, rows = x.new_zeros(x.shape[0], *a.shape), []
    for t in range(x.shape[1]):
        decay = torch.exp(delta[:, t, None] * a)
        state = decay * state + b[:, t, :, None] * (delta[:, t] * x[:, t])[:, None]
        rows.append((state * c[:, t, :, None]).sum(1))
    return torch.stack(rows, 1)
