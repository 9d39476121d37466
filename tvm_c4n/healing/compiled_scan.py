"""Selective scan with its gradient on the CPU, as two loops that are compiled when first needed.

In torch each step of time is some calls that write and read all states, and autograd keeps all of
them. Here a vector of channels goes through time with its states in registers; the forward pass
keeps the state in front of every `CHUNK`-th step, and the backward pass walks back and computes
those between them again. Windows are shared between threads. The oracle is
`tvm_c4n.healing.scan.scan_by_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import gcd
from typing import Any

import torch
from torch import Tensor

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import LOG2_E, declare_or_bind, exp2, f32, load, local, splat, store
from tvm_c4n.torch_blocks.host_kernel import compiled
from tvm_c4n.torch_blocks.threads import map_in_threads

# Steps between two states that are kept: those between them stay in the core's nearest cache.
CHUNK = 8
LANES = 16


class CompiledScan(torch.autograd.Function):  # type: ignore[misc]
    """``apply(x, delta, a, bc)``: the scan of `tvm_c4n.healing.scan`, all float32.

    x, delta (b, t, d); a (n, d) negative; bc (b, t, 2n) holds B, then C. Gives y (b, t, d).
    """

    @staticmethod
    def forward(context: Any, x: Tensor, delta: Tensor, a: Tensor, bc: Tensor) -> Tensor:
        """Scan windows from a state of zeros."""
        x, delta, a, bc = (value.contiguous() for value in (x, delta, a, bc))
        (windows, tokens, channels), states = x.shape, len(a)
        kernel, rates = _forward_kernel(channels, states), a * LOG2_E
        y = torch.empty_like(x)
        starts = x.new_empty(windows, -(-tokens // CHUNK), states, channels)

        def scan(window: int) -> None:
            kernel(x[window], delta[window], rates, bc[window], y[window], starts[window])

        map_in_threads(scan, range(windows))
        context.save_for_backward(x, delta, a, bc, starts)
        return y

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of x, delta, a and bc."""
        x, delta, a, bc, starts = context.saved_tensors
        (windows, tokens, channels), states = x.shape, len(a)
        kernel, rates = _backward_kernel(channels, states), a * LOG2_E
        dy = gradients[0].contiguous()
        dx, d_delta, d_bc = torch.empty_like(x), torch.empty_like(x), torch.empty_like(bc)
        d_a = x.new_zeros(windows, states, channels)

        def walk_back(window: int) -> None:
            lanes = gcd(channels, LANES)
            # Sums over channels are kept as one sum for each lane.
            parts = x.new_zeros(tokens, 2 * states, lanes)
            scratch = [x.new_zeros(steps, states, lanes) for steps in (CHUNK + 1, CHUNK, 1)]
            given = (value[window] for value in (x, delta, bc, starts, dy))
            found = (value[window] for value in (dx, d_delta, d_a))
            kernel(*given, a, rates, *found, parts, *scratch)
            torch.sum(parts, -1, out=d_bc[window])

        map_in_threads(walk_back, range(windows))
        return dx, d_delta, d_a.sum(0), d_bc


@cache
def _forward_kernel(channels: int, states: int) -> Callable[..., None]:
    """Compile ``kernel(x, delta, rates, bc, y, starts)`` for one window; rates are a / ln 2."""
    lanes = gcd(channels, LANES)

    def body() -> None:
        tokens, chunks = T.int64(), T.int64()
        x, delta = (declare_or_bind(name, [tokens, channels]) for name in ("x", "delta"))
        rates = declare_or_bind("rates", [states, channels])
        bc = declare_or_bind("bc", [tokens, 2 * states])
        y = declare_or_bind("y", [tokens, channels])
        starts = declare_or_bind("starts", [chunks, states, channels])
        with T.serial(T.int64(channels // lanes)) as vector:
            at = vector * lanes
            h = local((states, lanes))
            for n in range(states):
                store(h, (n,), 0, lanes, f32(0, lanes))
            with T.serial(chunks) as chunk:
                for n in range(states):
                    store(starts, (chunk, n), at, lanes, load(h, (n,), 0, lanes))
                with T.serial(T.min(T.int64(CHUNK), tokens - chunk * CHUNK)) as i:
                    t = chunk * CHUNK + i
                    d = T.bind(load(delta, (t,), at, lanes))
                    driven = T.bind(d * load(x, (t,), at, lanes))
                    total = f32(0, lanes)
                    for n in range(states):
                        kept = exp2(d * load(rates, (n,), at, lanes), lanes)
                        now = kept * load(h, (n,), 0, lanes) + splat(bc[t, n], lanes) * driven
                        now = T.bind(now)
                        store(h, (n,), 0, lanes, now)
                        total = T.bind(total + now * splat(bc[t, states + n], lanes))
                    store(y, (t,), at, lanes, total)

    return compiled(body)


@cache
def _backward_kernel(channels: int, states: int) -> Callable[..., None]:
    """Compile the way back through one window.

    ``kernel(x, delta, bc, starts, dy, a, rates, dx, d_delta, d_a, parts, hs, decays, carry)``: d_a,
    parts (t, 2n, lanes), whose sum over lanes is the gradient of bc, and carry begin with zeros;
    hs (CHUNK + 1, n, lanes) and decays (CHUNK, n, lanes) are room for what is computed again.
    """
    lanes = gcd(channels, LANES)

    def body() -> None:
        tokens, chunks = T.int64(), T.int64()
        x, delta = (declare_or_bind(name, [tokens, channels]) for name in ("x", "delta"))
        bc = declare_or_bind("bc", [tokens, 2 * states])
        starts = declare_or_bind("starts", [chunks, states, channels])
        dy = declare_or_bind("dy", [tokens, channels])
        a, rates = (declare_or_bind(name, [states, channels]) for name in ("a", "rates"))
        dx, d_delta = (declare_or_bind(name, [tokens, channels]) for name in ("dx", "d_delta"))
        d_a = declare_or_bind("d_a", [states, channels])
        parts = declare_or_bind("parts", [tokens, 2 * states, lanes])
        hs = declare_or_bind("hs", [CHUNK + 1, states, lanes])
        decays = declare_or_bind("decays", [CHUNK, states, lanes])
        carry = declare_or_bind("carry", [1, states, lanes])

        def add(buffer: Any, outer: tuple[Any, ...], start: Any, value: Any) -> None:
            store(buffer, outer, start, lanes, load(buffer, outer, start, lanes) + value)

        def forward_again(t: Any, i: Any, at: Any) -> None:
            d = T.bind(load(delta, (t,), at, lanes))
            driven = T.bind(d * load(x, (t,), at, lanes))
            for n in range(states):
                kept = exp2(d * load(rates, (n,), at, lanes), lanes)
                store(decays, (i, n), 0, lanes, kept)
                now = kept * load(hs, (i, n), 0, lanes) + splat(bc[t, n], lanes) * driven
                store(hs, (i + 1, n), 0, lanes, now)

        def back(t: Any, i: Any, at: Any) -> None:
            d, value = T.bind(load(delta, (t,), at, lanes)), T.bind(load(x, (t,), at, lanes))
            driven, slope = T.bind(d * value), T.bind(load(dy, (t,), at, lanes))
            of_driven, of_delta = f32(0, lanes), f32(0, lanes)
            for n in range(states):
                # The gradient of the state behind the step, and of the one in front of it.
                g = load(carry, (0, n), 0, lanes) + slope * splat(bc[t, states + n], lanes)
                g = T.bind(g)
                before = T.bind(g * load(decays, (i, n), 0, lanes))
                of_decay = T.bind(before * load(hs, (i, n), 0, lanes))
                add(parts, (t, n), 0, g * driven)
                add(parts, (t, states + n), 0, slope * load(hs, (i + 1, n), 0, lanes))
                store(carry, (0, n), 0, lanes, before)
                add(d_a, (n,), at, of_decay * d)
                of_delta = T.bind(of_delta + of_decay * load(a, (n,), at, lanes))
                of_driven = T.bind(of_driven + g * splat(bc[t, n], lanes))
            store(dx, (t,), at, lanes, of_driven * d)
            store(d_delta, (t,), at, lanes, of_delta + of_driven * value)

        with T.serial(T.int64(channels // lanes)) as vector:
            at = vector * lanes
            for n in range(states):
                store(carry, (0, n), 0, lanes, f32(0, lanes))
            with T.serial(chunks) as done:
                chunk = chunks - 1 - done
                first = chunk * CHUNK
                length = T.min(T.int64(CHUNK), tokens - first)
                for n in range(states):
                    store(hs, (0, n), 0, lanes, load(starts, (chunk, n), at, lanes))
                with T.serial(length) as i:
                    forward_again(first + i, i, at)
                with T.serial(length) as j:
                    back(first + length - 1 - j, length - 1 - j, at)

    return compiled(body)
