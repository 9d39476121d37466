"""C4n GEMM against float64; what it spills lies in whole cache lines, wherever the stack begins."""

from __future__ import annotations

import re
from typing import Any

import pytest

import schedules
from tests.schedules.linear_cases import Case, check_against_float64
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


CASES = [
    *(Case(removed=n, tokens=9) for n in range(4)),
    *(Case(cols=cols, removed=0, tokens=9) for cols in (24, 160, 260)),
    *(Case(tokens=tokens, rows=37) for tokens in (2, 6, 7, 13)),
    Case(bias=True, residual=True, tokens=5, factor=0.3),
    Case(removed=0, cols=24, extra_width=32, tokens=3),
    Case(removed=0, rows=130, tokens=9),
]


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "int8",
        "int4",
        "int3",
        *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float16", "int2")),
    ],
)
def test_it_matches_float64(machine: Any, dtype: str) -> None:
    check_against_float64(machine, CASES, dtype, "c4n_gemm", "c4n_unpacked_gemm")


def assembly_of(dtype: str, tokens: int) -> str:
    """A GEMM of dense weights, four panels times some tokens."""
    isa = isa_of(TARGET)
    spec = LinearSpec(True, 256, 256, 0, dtype, 64, isa.lanes, 256)
    answer = schedules.choose(spec, isa, lambda _: {"panels": 4, "tokens": tokens})
    assert answer is not None
    kernel = answer[1].prim_func().with_attr("global_symbol", "gemm")
    text: str = tvm.compile(IRModule({"gemm": kernel}), TARGET).mod.inspect_source("asm")
    return text


@pytest.mark.parametrize("dtype", ["int4", "float16"])
def test_its_sums_are_no_memory_of_a_heap(dtype: str) -> None:
    # 16 vectors have 1024 bytes, which TVM would allocate and LLVM would not keep in registers.
    assert "AllocWorkspace" not in assembly_of(dtype, 4)


def test_what_it_spills_is_aligned() -> None:
    spills = SPILL.findall(assembly_of("int4", 8))
    assert len(spills) > 8
    assert set(spills) <= {"aps", "apd", "dqa32", "dqa64"}
