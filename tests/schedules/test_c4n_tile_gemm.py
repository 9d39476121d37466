"""The GEMM of pairs of rows and tokens, under qemu: against float64, and bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import schedules
from tests.schedules.conftest import Machine
from tests.schedules.linear_cases import Case, arguments, check_against_float64, make, spec_for
from tvm_c4n.ops.isa import NEON, NEON_I8MM

# Dense ones are wide enough for int8 weights to multiply integers.
QUICK = {
    "int4": [
        Case(removed=0, tokens=13, cols=260),
        Case(removed=2, tokens=15, rows=256, cols=160, scale_group=128),
    ],
    "int8": [
        Case(removed=1, tokens=14, rows=37, bias=True, residual=True, factor=0.3),
        Case(removed=3, tokens=12),
    ],
}
CASES = [
    *(case for cases in QUICK.values() for case in cases),
    *(Case(removed=n, tokens=17, rows=200, cols=260) for n in range(4)),
    *(Case(removed=n, tokens=16, cols=208, scale_group=16) for n in range(4)),
    *(Case(cols=cols, removed=0, tokens=19) for cols in (196, 384)),
    *(Case(cols=cols, tokens=12) for cols in (24, 160)),
    *(Case(tokens=tokens, rows=37) for tokens in (2, 5, 8, 11, 33)),
]


@pytest.fixture
def machine(phone_max: Any) -> Machine:
    """An emulated core that has i8mm."""
    return Machine(NEON_I8MM, phone_max)


@pytest.mark.phone
@pytest.mark.parametrize("dtype", QUICK)
def test_it_matches_float64(machine: Machine, dtype: str) -> None:
    check_against_float64(machine, QUICK[dtype], dtype, "c4n_tile_gemm")


@pytest.mark.phone
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "int4", "int3", "int2"])
def test_all_shapes_match_float64(machine: Machine, dtype: str) -> None:
    check_against_float64(machine, CASES, dtype, "c4n_tile_gemm")


@pytest.mark.phone
@pytest.mark.slow
@pytest.mark.parametrize("tile", [(1, 2), (2, 8), (4, 6)])
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_every_tile_has_the_bits_of_dot_products(
    machine: Machine, phone_max: Any, dtype: str, tile: tuple[int, int]
) -> None:
    """Sums of a scale group are exact integers, and the groups follow each other alike."""
    found = []
    cases = [Case(removed=n, tokens=25, rows=144, cols=384, scale_group=128) for n in range(4)]
    for other in (machine, Machine(NEON, phone_max)):
        funcs, calls = {}, {}
        for case in cases:
            weight, inputs = make(case, dtype)
            spec = spec_for(case, weight, other.isa.lanes)
            decisions = dict(zip(("panels", "tokens"), tile, strict=True))
            answer = schedules.choose(spec, other.isa, lambda _, d=decisions: d)
            assert answer is not None
            name = f"n{case.removed}"
            funcs[name], calls[name] = (
                answer[1].prim_func(),
                arguments(case, spec, weight, inputs)[0],
            )
        results = other.run(funcs, calls)
        found.append({name: results[name][-1] for name in funcs})
    for name, expected in found[1].items():
        np.testing.assert_array_equal(found[0][name], expected)
