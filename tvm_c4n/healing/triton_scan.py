"""Selective scan with its gradient, as two Triton kernels for NVIDIA GPUs.

One program owns BD channels of one sequence and keeps their N states in registers. The forward pass
stores the state before every fourth step; the backward pass walks back and recomputes the three
states in between. Sums over channels and sequences are written as parts and added up afterwards in
a fixed order, not with atomic additions: the same inputs give the same bits. Shapes: x, dt, y
(batch, T, D) bfloat16; bc (batch, T, 2N) holds B then C; a (N, D) is A transposed; T is divisible
by 4, D by BD. The oracle is `tvm_c4n.healing.scan.scan_by_steps`.
"""

from __future__ import annotations

from math import gcd

import torch
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
    """Write y, and in hs the states before every fourth step."""
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
    part_ptr,
    d,
    n,
    D: tl.constexpr,
    N: tl.constexpr,
):
    gh += c[:, None] * dy[None, :]
    tl.store(part_ptr + at * 2 * N + n, tl.sum(gh * (dt * x)[None, :], 1))
    tl.store(part_ptr + at * 2 * N + N + n, tl.sum(h * dy[None, :], 1))
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
    rows,
    T,
    D: tl.constexpr,
    N: tl.constexpr,
    BD: tl.constexpr,
):
    """Write the gradients; those of bc by block of channels, that of a by sequence."""
    d = tl.program_id(0) * BD + tl.arange(0, BD)
    n = tl.arange(0, N)
    row = tl.program_id(1).to(tl.int64) * T
    part_ptr = dbc_ptr + tl.program_id(0).to(tl.int64) * rows * 2 * N
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
            gh, da, h4, h3, a, at + 3, x3, v3, d3, b3, c3, g3, dx_ptr, ddt_ptr, part_ptr, d, n, D, N
        )
        gh, da = _step_back(
            gh, da, h3, h2, a, at + 2, x2, v2, d2, b2, c2, g2, dx_ptr, ddt_ptr, part_ptr, d, n, D, N
        )
        gh, da = _step_back(
            gh, da, h2, h1, a, at + 1, x1, v1, d1, b1, c1, g1, dx_ptr, ddt_ptr, part_ptr, d, n, D, N
        )
        gh, da = _step_back(
            gh, da, h1, h0, a, at, x0, v0, d0, b0, c0, g0, dx_ptr, ddt_ptr, part_ptr, d, n, D, N
        )
    tl.store(da_ptr + (tl.program_id(1) * N + n[:, None]) * D + d[None, :], da)


# Channels per program, where they divide D. On an H100 32 is the fastest of 8, 16 and 32 for both
# kernels (batch 32, T 1024, D 768, N 16: 0.45 and 0.99 ms per layer).
BLOCK = 32


@torch.library.custom_op("tvm_c4n::scan_fwd", mutates_args=())
def scan_fwd(
    x: torch.Tensor, dt: torch.Tensor, bias: torch.Tensor, a: torch.Tensor, bc: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and the states before every fourth step, (batch, T / 4, N, D) float32."""
    batch, T, D = x.shape
    y = torch.empty_like(x)
    hs = torch.empty(batch, T // 4, a.shape[0], D, device=x.device, dtype=torch.float32)
    block = gcd(D, BLOCK)
    scan_fwd_kernel[(D // block, batch)](
        x, dt, bias, a, bc, y, hs, T, D, a.shape[0], block, num_warps=1
    )
    return y, hs


@scan_fwd.register_fake
def _(x, dt, bias, a, bc):
    return torch.empty_like(x), x.new_empty(
        x.shape[0], x.shape[1] // 4, a.shape[0], x.shape[2], dtype=torch.float32
    )


@torch.library.custom_op("tvm_c4n::scan_bwd", mutates_args=())
def scan_bwd(
    x: torch.Tensor,
    dt: torch.Tensor,
    bias: torch.Tensor,
    a: torch.Tensor,
    bc: torch.Tensor,
    hs: torch.Tensor,
    dy: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of x, dt, a and bc."""
    batch, T, D = x.shape
    N = a.shape[0]
    block = gcd(D, BLOCK)
    dx, ddt = torch.empty_like(x), torch.empty_like(dt)
    da = torch.empty(batch, N, D, device=x.device, dtype=torch.float32)
    dbc = torch.empty(D // block, batch, T, 2 * N, device=x.device, dtype=torch.float32)
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
        batch * T,
        T,
        D,
        N,
        block,
        num_warps=1,
    )
    return dx, ddt, da.sum(0), dbc.sum(0)


@scan_bwd.register_fake
def _(x, dt, bias, a, bc, hs, dy):
    return (
        torch.empty_like(x),
        torch.empty_like(dt),
        torch.empty_like(a),
        bc.new_empty(bc.shape, dtype=torch.float32),
    )


class Scan(torch.autograd.Function):  # type: ignore[misc]
    """`tvm_c4n.healing.scan.selective_scan` on a GPU."""

    @staticmethod
    def forward(ctx, x, dt, bias, a, bc):
        """Scan, and keep what `backward` needs."""
        y, hs = torch.ops.tvm_c4n.scan_fwd(x, dt, bias, a, bc)
        ctx.save_for_backward(x, dt, bias, a, bc, hs)
        return y

    @staticmethod
    def backward(ctx, dy):
        """Return the gradients of x, dt, bias, a and bc."""
        x, dt, bias, a, bc, hs = ctx.saved_tensors
        dx, ddt, da, dbc = torch.ops.tvm_c4n.scan_bwd(x, dt, bias, a, bc, hs, dy.contiguous())
        return dx, ddt, ddt.sum((0, 1), dtype=torch.float32), da, dbc.to(bc.dtype)
