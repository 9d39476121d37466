"""Checks the package's selective scan on this GPU before hours are spent on it."""

import time

import torch

from tvm_c4n.healing.scan import scan_by_steps, selective_scan


def check_scan(device, batch=2, T=96, D=64, N=16):
    """Compare the scan with its float64 oracle on random inputs; raise when they differ."""
    gen = torch.Generator().manual_seed(int(time.time()))
    rnd = [
        torch.randn(batch, T, D, generator=gen),
        torch.randn(batch, T, D, generator=gen),
        torch.rand(D, generator=gen) * 4 - 5,
        -torch.rand(N, D, generator=gen) * 16,
        torch.randn(batch, T, 2 * N, generator=gen),
    ]
    types = [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.bfloat16]
    ins = [v.to(device).to(t).requires_grad_() for v, t in zip(rnd, types, strict=True)]
    refs = [v.detach().double().requires_grad_() for v in ins]
    out, ref = selective_scan(*ins), scan_by_steps(*refs)
    dy = torch.randn(ref.shape, generator=gen).to(device).bfloat16()
    out.backward(dy)
    ref.backward(dy.double())
    names = ("x", "dt", "bias", "a", "bc")
    pairs = {
        "y": (out, ref),
        **{k: (i.grad, r.grad) for k, i, r in zip(names, ins, refs, strict=True)},
    }
    err = {k: ((o.double() - r).norm() / r.norm()).item() for k, (o, r) in pairs.items()}
    print("scan check, relative error:", {k: f"{v:.1e}" for k, v in err.items()}, flush=True)
    if not all(v < 1e-2 for v in err.values()):
        raise SystemExit("the scan disagrees with the reference")
