"""The selective scan of whole windows, by the kernel that the compiled model prefills with.

In torch each step of time is five calls that write and read all states; the kernel keeps the states
of some channels in registers while time passes (docs/decisions/pruning-speed.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from schedules import intrinsics_of
from schedules.selective_scan import SelectiveScan
from tvm_c4n._tvm import IRModule, Target, tvm
from tvm_c4n.ops.host import host_description
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ScanSpec
from tvm_c4n.torch_blocks.threads import map_in_threads

# TVM's kernels expect their arguments at multiples of it, as both libraries allocate them.
ALIGNED_BYTES = 64


def selective_scan(
    x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, a: Tensor, dt_bias: Tensor, skip: Tensor
) -> Tensor:
    """Scan windows selectively, then skip and gate; all float32.

    Parameters
    ----------
    x : (b, t, d)
        After the convolution.
    dt : (b, t, d)
        Output of dt_proj; its bias and softplus are applied here.
    bc : (b, t, 2 n)
        B, then C.
    z : (b, t, d)
        The gate, before SiLU.
    a : (n, d)
        Decay rates, negative.
    dt_bias, skip : (d,)

    Returns
    -------
    (b, t, d)
    """
    (states, channels), tokens = a.shape, x.shape[1]
    kernel = _kernel(channels, states)
    a, skip, out = _aligned(a), _aligned(skip), torch.empty_like(x)

    def scan_window(window: int) -> None:
        y, gate = _aligned(out[window]), x.new_empty(tokens, 2 * channels)
        gate[:, channels:] = z[window]  # the kernel reads in_proj's output, of which z is a half
        delta, state = dt[window] + dt_bias, a.new_zeros(1, states, channels)
        kernel(delta, _aligned(x[window]), bc[window].clone(), gate, a, skip, state, 0, y)
        if y.data_ptr() != out[window].data_ptr():
            out[window] = y

    map_in_threads(scan_window, range(len(x)))
    return out


@cache
def _kernel(channels: int, states: int) -> Callable[..., None]:
    """Compile the scan of one sequence, for one thread: windows are what threads share."""
    target = Target(host_description())
    spec = ScanSpec(dynamic=True, channels=channels, state=states, layers=1, dt_rank=0)
    kernel = SelectiveScan(parallel=False)(spec, intrinsics_of(isa_of(target)))
    assert kernel is not None  # noqa: S101 - the rule is for scans
    func = kernel.prim_func().with_attr("global_symbol", "scan")
    scan: Callable[..., None] = tvm.compile(IRModule({"scan": func}), target)["scan"]
    return scan


def _aligned(tensor: Tensor) -> Tensor:
    return tensor if tensor.data_ptr() % ALIGNED_BYTES == 0 else tensor.clone()
