"""Activations to int8: a work-item for each scale group of a token."""

from __future__ import annotations

from typing import Any

from schedules.opencl.grid import GROUP, grid, private
from tvm_c4n._tvm import T
from tvm_c4n.ops.quantize import TOP, declare
from tvm_c4n.ops.spec import QuantizeSpec
from tvm_c4n.ops.tir import Kernel, tokens_of


def quantize(spec: QuantizeSpec) -> Kernel:
    """Return the kernel."""
    groups, zero = spec.padded // spec.group, T.float32(0)

    def body() -> None:
        tokens = tokens_of(spec)
        x, q, scales = declare(spec, tokens)
        with grid(-(-groups // GROUP), tokens) as (work_group, token, item):
            group = work_group * GROUP + item

            def element(i: Any) -> Any:
                column = group * spec.group + i
                inside = x[token, T.min(column, spec.cols - 1)]
                return T.if_then_else(column < spec.cols, inside, zero)

            top = private(1)
            with T.If(group < groups), T.Then():
                T.buffer_store(top, zero, [0])
                with T.serial(spec.group) as i:
                    value = T.bind(element(i))
                    T.buffer_store(top, T.max(top[0], T.max(value, zero - value)), [0])
                T.buffer_store(scales, top[0] / T.float32(TOP), [token, group])
                inverse = T.bind(T.if_then_else(top[0] > zero, T.float32(TOP) / top[0], zero))
                with T.serial(spec.group) as i:
                    # OpenCL has no nearbyint; rint rounds the same way.
                    rounded = T.call_extern("float32", "rint", element(i) * inverse)
                    T.buffer_store(q, T.cast(rounded, "int8"), [token, group * spec.group + i])

    return Kernel(spec, "opencl_quantize", body)
