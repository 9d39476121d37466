"""Kernels for the GPUs of phones, written for OpenCL: experimental, compiled and checked on a CPU.

One work-item computes one output row or channel; the items of a group follow each other in memory,
so their loads are whole cache lines. No kernel needs an OpenCL extension: float16 is unpacked with
integer arithmetic (`schedules.opencl.grid.half_to_float`).
"""

from __future__ import annotations

from schedules.opencl.attention import attention
from schedules.opencl.linear import linear
from schedules.opencl.position import advance, rotary
from schedules.opencl.quantize import quantize
from schedules.opencl.selective_scan import selective_scan
from schedules.opencl.ssd_scan import ssd_scan
from schedules.opencl.swiglu import swiglu
from tvm_c4n.errors import TargetError
from tvm_c4n.ops.spec import (
    AdvanceSpec,
    AttentionSpec,
    LinearSpec,
    OpSpec,
    QuantizeSpec,
    RotarySpec,
    ScanSpec,
    SsdSpec,
    SwigluSpec,
)
from tvm_c4n.ops.tir import Kernel


def choose(spec: OpSpec) -> tuple[str, Kernel] | None:
    """Return the name and the kernel of an operator; None: its weights are not repacked.

    Raises
    ------
    TargetError
        There is no OpenCL kernel for operators of this kind.
    """
    if isinstance(spec, LinearSpec):
        return ("opencl_linear", linear(spec)) if spec.lanes else None
    if isinstance(spec, ScanSpec):
        return "opencl_selective_scan", selective_scan(spec)
    if isinstance(spec, SsdSpec):
        return "opencl_ssd_scan", ssd_scan(spec)
    if isinstance(spec, QuantizeSpec):
        return "opencl_quantize", quantize(spec)
    if isinstance(spec, SwigluSpec):
        return "opencl_swiglu", swiglu(spec)
    if isinstance(spec, AttentionSpec):
        return "opencl_attention", attention(spec)
    if isinstance(spec, RotarySpec):
        return "opencl_rotary", rotary(spec)
    if isinstance(spec, AdvanceSpec):
        return "opencl_advance", advance(spec)
    raise TargetError(
        f"there is no OpenCL kernel for {spec.kind!r}: the experimental target adreno takes "
        "modules of dense layers and selective scans; compile this one for a CPU"
    )


__all__ = ["choose"]
