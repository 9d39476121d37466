"""Schedules of C4n operators: rules that write fast bodies for an instruction set."""

from __future__ import annotations

from schedules.base import Rule
from schedules.c4n_gemm import C4nGemm
from schedules.c4n_gemv import C4nGemv
from schedules.conv1d import Conv1d
from schedules.elementwise import Quantize, RmsNorm
from schedules.intrin import intrinsics_of
from schedules.selective_scan import SelectiveScan
from tvm_c4n.ops.isa import Isa
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel

OWNER = "tvm_c4n"
"""PyPI has an unrelated package of this name; tvm_c4n checks that it imported this one."""

RULES: tuple[Rule, ...] = (
    C4nGemv(),
    C4nGemm(),
    SelectiveScan(),
    Conv1d(),
    RmsNorm(),
    Quantize(),
)
"""In order: the first rule that answers writes the kernel."""


def choose(spec: OpSpec, isa: Isa) -> tuple[str, Kernel] | None:
    """Ask the rules in order.

    Returns
    -------
    tuple or None
        The name of the first rule that answers and its kernel; None where no rule applies.
    """
    intrin = intrinsics_of(isa)
    for rule in RULES:
        kernel = rule(spec, intrin)
        if kernel is not None:
            return rule.name, kernel
    return None


__all__ = ["OWNER", "RULES", "Rule", "choose", "intrinsics_of"]
