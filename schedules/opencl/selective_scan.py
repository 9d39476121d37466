"""Selective scan: a work-item for each channel carries its N state elements through time."""

from __future__ import annotations

from schedules.opencl.grid import GROUP, grid, half_to_float, private
from tvm_c4n._tvm import T
from tvm_c4n.ops import selective_scan as definition
from tvm_c4n.ops.spec import ScanSpec
from tvm_c4n.ops.tir import Kernel, loop, tokens_of


def selective_scan(spec: ScanSpec) -> Kernel:
    """Return the kernel."""
    zero, one = T.float32(0), T.float32(1)

    def body() -> None:
        tokens = tokens_of(spec)
        dt, x, bc, xz, a, skip, state, index, out = definition.declare(spec, tokens)
        with grid(-(-spec.channels // GROUP), 1) as (work_group, _, item):
            channel = work_group * GROUP + item
            h, total = private(spec.state), private(1)
            with T.If(channel < spec.channels), T.Then():
                for n in range(spec.state):
                    T.buffer_store(h, state[(*index(0), n, channel)], [n])
                with loop(tokens) as t:
                    raw = T.bind(dt[t, channel])
                    tail = T.log(one + T.exp(zero - T.max(raw, zero - raw)))
                    delta = T.bind(T.max(raw, zero) + tail)
                    value = T.bind(x[t, channel])
                    T.buffer_store(total, skip[channel] * value, [0])
                    for n in range(spec.state):
                        b, c = bc[t, spec.dt_rank + n], bc[t, spec.dt_rank + spec.state + n]
                        rate = a[n, channel]
                        if spec.half:
                            rate = half_to_float(T.cast(rate, "uint32"))
                        new = T.exp(delta * rate) * h[n] + delta * value * b
                        T.buffer_store(h, new, [n])
                        T.buffer_store(total, total[0] + c * h[n], [0])
                    z = T.bind(xz[t, spec.channels + channel])
                    gate = z / (one + T.exp(zero - z))
                    T.buffer_store(out, total[0] * gate, [t, channel])
                for n in range(spec.state):
                    T.buffer_store(state, h[n], [*index(0), n, channel])

    return Kernel(spec, "opencl_selective_scan", body)
