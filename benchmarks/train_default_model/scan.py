"""Selective scan with its gradient, as two Triton kernels.

    h_t = exp(d_t A) h_{t-1} + d_t x_t B_t,  y_t = <h_t, C_t>,  d_t = softplus(dt_t + bias)

One program owns BD channels of one sequence and keeps their N states in registers. The forward pass
stores the state before every fourth step; the backward pass walks back and recomputes the three
states in between. Shapes: x, dt, y (batch, T, D); bc (batch, T, 2N) holds B then C; a (N, D) is A
transposed; T is divisible by 4.
"""

import time

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _softplus(v):
    return tl.where(v > 20.0, v, tl.log(1.0 + tl.exp(v)))


@triton.jit
def _next_state(h, a, b, dt, xt):
    return tl.exp2(a * (dt * LOG2E)[None, :]) * h + b[:, None] * (dt * xt)[None, :]


@triton.jit
def _inputs(x_ptr, dt_ptr, bias, bc_ptr, at, d, n, D: tl.constexpr, N: tl.constexpr):
    v = tl.load(dt_ptr + at * D + d).to(tl.float32) + bias
    return (
        tl.load(x_ptr + at * D + d).to(tl.float32),
        v,
        tl.load(bc_ptr + at * 2 * N + n).to(tl.float32),
        tl.load(bc_ptr + at * 2 * N + N + n).to(tl.float32),
    )


@triton.jit
def scan_fwd_kernel(
    x_ptr,
    dt_ptr,
    bias_ptr,
    a_ptr,
    bc_ptr,
    y_ptr,
    hs_ptr,
    T,
    D: tl.constexpr,
    N: tl.constexpr,
    BD: tl.constexpr,
):
    d = tl.program_id(0) * BD + tl.arange(0, BD)
    n = tl.arange(0, N)
    row = tl.program_id(1).to(tl.int64) * T
    a = tl.load(a_ptr + n[:, None] * D + d[None, :])
    bias = tl.load(bias_ptr + d)
    h = tl.zeros([N, BD], tl.float32)
    for c in range(0, T // 4):
        at = row + c * 4
        # All loads come before the first store, so that they overlap.
        x0, v0, b0, c0 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at, d, n, D, N)
        x1, v1, b1, c1 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at + 1, d, n, D, N)
        x2, v2, b2, c2 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at + 2, d, n, D, N)
        x3, v3, b3, c3 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at + 3, d, n, D, N)
        tl.store(hs_ptr + ((row // 4 + c) * N + n[:, None]) * D + d[None, :], h)
        h = _next_state(h, a, b0, _softplus(v0), x0)
        tl.store(y_ptr + at * D + d, tl.sum(h * c0[:, None], 0).to(y_ptr.dtype.element_ty))
        h = _next_state(h, a, b1, _softplus(v1), x1)
        tl.store(y_ptr + (at + 1) * D + d, tl.sum(h * c1[:, None], 0).to(y_ptr.dtype.element_ty))
        h = _next_state(h, a, b2, _softplus(v2), x2)
        tl.store(y_ptr + (at + 2) * D + d, tl.sum(h * c2[:, None], 0).to(y_ptr.dtype.element_ty))
        h = _next_state(h, a, b3, _softplus(v3), x3)
        tl.store(y_ptr + (at + 3) * D + d, tl.sum(h * c3[:, None], 0).to(y_ptr.dtype.element_ty))


@triton.jit
def _step_back(
    gh,
    da,
    h,
    hprev,
    a,
    at,
    x,
    v,
    dt,
    b,
    c,
    dy,
    dx_ptr,
    ddt_ptr,
    dbc_ptr,
    d,
    n,
    D: tl.constexpr,
    N: tl.constexpr,
):
    gh += c[:, None] * dy[None, :]
    tl.atomic_add(dbc_ptr + at * 2 * N + n, tl.sum(gh * (dt * x)[None, :], 1), sem="relaxed")
    tl.atomic_add(dbc_ptr + at * 2 * N + N + n, tl.sum(h * dy[None, :], 1), sem="relaxed")
    gb = tl.sum(gh * b[:, None], 0)
    tl.store(dx_ptr + at * D + d, (gb * dt).to(dx_ptr.dtype.element_ty))
    gh *= tl.exp2(a * (dt * LOG2E)[None, :])
    ga = gh * hprev
    da += ga * dt[None, :]
    ddt = gb * x + tl.sum(ga * a, 0)
    tl.store(ddt_ptr + at * D + d, (ddt * tl.sigmoid(v)).to(ddt_ptr.dtype.element_ty))
    return gh, da


@triton.jit
def scan_bwd_kernel(
    x_ptr,
    dt_ptr,
    bias_ptr,
    a_ptr,
    bc_ptr,
    hs_ptr,
    dy_ptr,
    dx_ptr,
    ddt_ptr,
    dbc_ptr,
    da_ptr,
    T,
    D: tl.constexpr,
    N: tl.constexpr,
    BD: tl.constexpr,
):
    d = tl.program_id(0) * BD + tl.arange(0, BD)
    n = tl.arange(0, N)
    row = tl.program_id(1).to(tl.int64) * T
    a = tl.load(a_ptr + n[:, None] * D + d[None, :])
    bias = tl.load(bias_ptr + d)
    gh = tl.zeros([N, BD], tl.float32)
    da = tl.zeros([N, BD], tl.float32)
    for i in range(0, T // 4):
        c = T // 4 - 1 - i
        at = row + c * 4
        h0 = tl.load(hs_ptr + ((row // 4 + c) * N + n[:, None]) * D + d[None, :])
        x0, v0, b0, c0 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at, d, n, D, N)
        x1, v1, b1, c1 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at + 1, d, n, D, N)
        x2, v2, b2, c2 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at + 2, d, n, D, N)
        x3, v3, b3, c3 = _inputs(x_ptr, dt_ptr, bias, bc_ptr, at + 3, d, n, D, N)
        g0 = tl.load(dy_ptr + at * D + d).to(tl.float32)
        g1 = tl.load(dy_ptr + (at + 1) * D + d).to(tl.float32)
        g2 = tl.load(dy_ptr + (at + 2) * D + d).to(tl.float32)
        g3 = tl.load(dy_ptr + (at + 3) * D + d).to(tl.float32)
        d0, d1, d2, d3 = _softplus(v0), _softplus(v1), _softplus(v2), _softplus(v3)
        h1 = _next_state(h0, a, b0, d0, x0)
        h2 = _next_state(h1, a, b1, d1, x1)
        h3 = _next_state(h2, a, b2, d2, x2)
        h4 = _next_state(h3, a, b3, d3, x3)
        gh, da = _step_back(
            gh, da, h4, h3, a, at + 3, x3, v3, d3, b3, c3, g3, dx_ptr, ddt_ptr, dbc_ptr, d, n, D, N
        )
        gh, da = _step_back(
            gh, da, h3, h2, a, at + 2, x2, v2, d2, b2, c2, g2, dx_ptr, ddt_ptr, dbc_ptr, d, n, D, N
        )
        gh, da = _step_back(
            gh, da, h2, h1, a, at + 1, x1, v1, d1, b1, c1, g1, dx_ptr, ddt_ptr, dbc_ptr, d, n, D, N
        )
        gh, da = _step_back(
            gh, da, h1, h0, a, at, x0, v0, d0, b0, c0, g0, dx_ptr, ddt_ptr, dbc_ptr, d, n, D, N
        )
    tl.atomic_add(da_ptr + n[:, None] * D + d[None, :], da, sem="relaxed")


# Channels per program and register limit; tune_scan() measures the choices and keeps the fastest.
CHOICES = {
    "fwd": [(32, None), (32, 96), (16, None)],
    "bwd": [(16, None), (16, 168), (16, 128), (8, None), (8, 128)],
}
BLOCK = {which: choices[0] for which, choices in CHOICES.items()}


@torch.library.custom_op("mamba::scan_fwd", mutates_args=())
def scan_fwd(
    x: torch.Tensor, dt: torch.Tensor, bias: torch.Tensor, a: torch.Tensor, bc: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    batch, T, D = x.shape
    y = torch.empty_like(x)
    hs = torch.empty(batch, T // 4, a.shape[0], D, device=x.device, dtype=torch.float32)
    block, regs = BLOCK["fwd"]
    scan_fwd_kernel[(D // block, batch)](
        x, dt, bias, a, bc, y, hs, T, D, a.shape[0], block, num_warps=1, maxnreg=regs
    )
    return y, hs


@scan_fwd.register_fake
def _(x, dt, bias, a, bc):
    return torch.empty_like(x), x.new_empty(
        x.shape[0], x.shape[1] // 4, a.shape[0], x.shape[2], dtype=torch.float32
    )


@torch.library.custom_op("mamba::scan_bwd", mutates_args=())
def scan_bwd(
    x: torch.Tensor,
    dt: torch.Tensor,
    bias: torch.Tensor,
    a: torch.Tensor,
    bc: torch.Tensor,
    hs: torch.Tensor,
    dy: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    batch, T, D = x.shape
    dx, ddt = torch.empty_like(x), torch.empty_like(dt)
    da = torch.zeros_like(a)
    dbc = torch.zeros(bc.shape, device=x.device, dtype=torch.float32)
    block, regs = BLOCK["bwd"]
    scan_bwd_kernel[(D // block, batch)](
        x,
        dt,
        bias,
        a,
        bc,
        hs,
        dy,
        dx,
        ddt,
        dbc,
        da,
        T,
        D,
        a.shape[0],
        block,
        num_warps=1,
        maxnreg=regs,
    )
    return dx, ddt, da, dbc


@scan_bwd.register_fake
def _(x, dt, bias, a, bc, hs, dy):
    return (
        torch.empty_like(x),
        torch.empty_like(dt),
        torch.empty_like(a),
        bc.new_empty(bc.shape, dtype=torch.float32),
    )


class Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dt, bias, a, bc):
        y, hs = torch.ops.mamba.scan_fwd(x, dt, bias, a, bc)
        ctx.save_for_backward(x, dt, bias, a, bc, hs)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, dt, bias, a, bc, hs = ctx.saved_tensors
        dx, ddt, da, dbc = torch.ops.mamba.scan_bwd(x, dt, bias, a, bc, hs, dy.contiguous())
        return dx, ddt, ddt.sum((0, 1), dtype=torch.float32), da, dbc.to(bc.dtype)


def scan_reference(x, dt, bias, a, bc):
    """Plain selective scan, one step at a time; same arguments as Scan."""
    n, d = a.shape
    delta, b, c = F.softplus(dt + bias), bc[..., :n], bc[..., n:]
    h, ys = x.new_zeros(x.shape[0], n, d), []
    for t in range(x.shape[1]):
        h = (
            torch.exp(delta[:, t, None] * a) * h
            + b[:, t, :, None] * (delta[:, t] * x[:, t])[:, None]
        )
        ys.append((h * c[:, t, :, None]).sum(1))
    return torch.stack(ys, 1)


def check_scan(device, batch=2, T=96, D=64, N=16):
    """Compare Scan with the float64 reference on random inputs; raise when they differ."""
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
    out, ref = Scan.apply(*ins), scan_reference(*refs)
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
        raise SystemExit("the Triton scan disagrees with the reference")


def tune_scan(device, batch, T, D, N):
    """Pick the faster block sizes for this GPU."""
    x, dt, dy = (torch.randn(batch, T, D, device=device).bfloat16() for _ in range(3))
    bc = torch.randn(batch, T, 2 * N, device=device).bfloat16()
    bias, a = torch.full((D,), -3.0, device=device), -torch.rand(N, D, device=device) * 16
    ms = {}
    _, hs = scan_fwd(x, dt, bias, a, bc)
    for which, fn in (
        ("fwd", lambda: scan_fwd(x, dt, bias, a, bc)),
        ("bwd", lambda: scan_bwd(x, dt, bias, a, bc, hs, dy)),
    ):
        for choice in CHOICES[which]:
            BLOCK[which] = choice
            ms[which, choice] = triton.testing.do_bench(fn, warmup=20, rep=60, return_mode="median")
        BLOCK[which] = min(CHOICES[which], key=lambda c: ms[which, c])
    print(
        "scan, ms per layer:",
        {f"{k[0]} {k[1]}": round(v, 3) for k, v in ms.items()},
        "use",
        BLOCK,
        flush=True,
    )
