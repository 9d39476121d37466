"""Schedules of C4n operators: rules that write fast bodies for an instruction set."""

from __future__ import annotations

from schedules.base import Rule
from schedules.c4n_gemm import C4nGemm
from schedules.c4n_gemv import C4nGemv
from schedules.conv1d import Conv1d
from schedules.elementwise import Quantize, RmsNorm
from schedules.intrin import intrinsics_of
from schedules.selective_scan import SelectiveScan

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

__all__ = ["OWNER", "RULES", "Rule", "intrinsics_of"]
