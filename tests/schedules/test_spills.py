"""Vectors that LLVM spills lie in whole cache lines, wherever a process's stack begins."""

from __future__ import annotations

import re

import schedules
from tvm_c4n._tvm import IRModule, Target, tvm
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import LinearSpec

TARGET = Target(
    {
        "kind": "llvm",
        "mtriple": "x86_64-linux-gnu",
        "mcpu": "x86-64-v4",
        "mattr": ["+avx512vnni"],
    }
)
SPILL = re.compile(r"\bvmov(\w+)\s.*(?:\(%r[sb]p\), %zmm|%zmm\d+, .*\(%r[sb]p\))")


def test_what_a_gemm_spills_is_aligned():
    isa = isa_of(TARGET)
    spec = LinearSpec(True, 256, 256, 0, "int4", 64, isa.lanes, 256)
    answer = schedules.choose(spec, isa, lambda _: {"panels": 4, "tokens": 8})
    assert answer is not None
    kernel = answer[1].prim_func().with_attr("global_symbol", "gemm")
    assembly = tvm.compile(IRModule({"gemm": kernel}), TARGET).mod.inspect_source("asm")
    spills = SPILL.findall(assembly)
    assert len(spills) > 8
    assert set(spills) <= {"aps", "apd", "dqa32", "dqa64"}
