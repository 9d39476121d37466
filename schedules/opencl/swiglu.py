"""SwiGLU: a work-item for each column of a token."""

from __future__ import annotations

from schedules.opencl.grid import GROUP, grid
from tvm_c4n._tvm import T
from tvm_c4n.ops import swiglu as definition
from tvm_c4n.ops.spec import SwigluSpec
from tvm_c4n.ops.tir import Kernel, tokens_of


def swiglu(spec: SwigluSpec) -> Kernel:
    """Return the kernel."""
    zero, one = T.float32(0), T.float32(1)

    def body() -> None:
        tokens = tokens_of(spec)
        inputs, out = definition.declare(spec, tokens)
        gate, up, first = definition.gate_and_up(spec, inputs)
        with grid(-(-spec.cols // GROUP), tokens) as (work_group, token, item):
            column = work_group * GROUP + item
            with T.If(column < spec.cols), T.Then():
                value = T.bind(gate[token, column])
                activated = value / (one + T.exp(zero - value))
                T.buffer_store(out, activated * up[token, first + column], [token, column])

    return Kernel(spec, "opencl_swiglu", body)
