"""Mamba-2's scan: a work-item for each channel of a head carries its S states through time."""

from __future__ import annotations

from schedules.opencl.grid import GROUP, float_to_half, grid, half_to_float, private
from tvm_c4n._tvm import T
from tvm_c4n.ops import ssd_scan as definition
from tvm_c4n.ops.spec import SsdSpec
from tvm_c4n.ops.tir import Kernel, loop, tokens_of


def ssd_scan(spec: SsdSpec) -> Kernel:
    """Return the kernel."""
    zero, one = T.float32(0), T.float32(1)

    def body() -> None:
        tokens = tokens_of(spec)
        x, bc, zx, bcdt, a, bias, skip, state, index, out = definition.declare(spec, tokens)
        with grid(-(-spec.inner // GROUP), 1) as (work_group, _, item):
            column = work_group * GROUP + item
            head, p = column // spec.head_dim, column % spec.head_dim
            b, c = definition.columns_of(spec, head)
            h, total = private(spec.state), private(1)
            with T.If(column < spec.inner), T.Then():
                with T.serial(spec.state) as s:
                    found = state[(*index(0), head, s, p)]
                    if spec.half:
                        found = half_to_float(T.cast(found, "uint32"))
                    T.buffer_store(h, found, [s])
                with loop(tokens) as t:
                    raw = T.bind(bcdt[t, spec.bc_width + head] + bias[head])
                    tail = T.log(one + T.exp(zero - T.max(raw, zero - raw)))
                    delta = definition.clamped(spec, T.max(raw, zero) + tail, T.float32)
                    delta = T.bind(delta)
                    decay = T.bind(T.exp(delta * a[head]))
                    value = T.bind(x[t, column])
                    drive = T.bind(delta * value)
                    T.buffer_store(total, skip[head] * value, [0])
                    with T.serial(spec.state) as s:
                        T.buffer_store(h, decay * h[s] + drive * bc[t, b + s], [s])
                        T.buffer_store(total, total[0] + bc[t, c + s] * h[s], [0])
                    z = T.bind(zx[t, column])
                    gate = z / (one + T.exp(zero - z))
                    T.buffer_store(out, total[0] * gate, [t, column])
                with T.serial(spec.state) as s:
                    kept = h[s]
                    if spec.half:
                        kept = T.cast(float_to_half(kept), "uint16")
                    T.buffer_store(state, kept, [*index(0), head, s, p])

    return Kernel(spec, "opencl_ssd_scan", body)
