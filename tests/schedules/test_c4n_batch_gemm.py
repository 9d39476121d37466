"""The GEMM of a batched step against float64, for sums of micro-tiles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schedules.linear_cases import Case, check_against_float64

QUICK = [
    Case(removed=0, tokens=7, batched=True),
    Case(removed=1, tokens=11, bias=True, residual=True, factor=0.3, batched=True),
    Case(removed=2, tokens=15, rows=37, batched=True),
]
REST = [
    Case(removed=3, tokens=5, batched=True),
    Case(removed=0, cols=24, tokens=7, batched=True),
    Case(removed=0, cols=24, extra_width=32, tokens=3, batched=True),
    *(Case(tokens=tokens, batched=True) for tokens in (1, 2, 3, 8, 12, 16, 32)),
]


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "int8",
        "int4",
        *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("int3", "int2")),
    ],
)
@pytest.mark.parametrize("cases", [QUICK, pytest.param(REST, marks=pytest.mark.slow)])
def test_it_matches_float64(machine: Any, dtype: str, cases: list[Case]) -> None:
    check_against_float64(machine, cases, dtype, "c4n_batch_gemm")
