"""The GEMM whose weights are unpacked once, with AVX2: against float64, and bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import schedules
from tests.schedules.conftest import Machine
from tests.schedules.linear_cases import Case, arguments, check_against_float64, make, spec_for
from tests.schedules.test_accumulator import check_integer_sums
from tvm_c4n._tvm import PrimFunc
from tvm_c4n.ops.host import host_features
from tvm_c4n.ops.isa import AVX2
from tvm_c4n.ops.spec import LinearSpec

# Runs of columns that share sums are parts of slices, slices, and whole k-blocks.
QUICK = [
    Case(removed=0, tokens=6, cols=260),
    Case(removed=1, tokens=5, rows=37, bias=True, residual=True, factor=0.3),
    Case(removed=2, tokens=9, rows=72, cols=160, scale_group=128),
    Case(removed=3, tokens=4, cols=500, scale_group=256),
]
# Dense int8 weights of few columns do not multiply integers.
CASES = [
    *(
        Case(removed=n, tokens=7, rows=200, cols=cols, scale_group=group)
        for n in range(4)
        for group, cols in ((16, 208), (32, 260), (64, 260), (128, 260), (256, 500), (512, 520))
    ),
    *(Case(cols=cols, removed=0, tokens=19) for cols in (196, 384)),
    *(Case(cols=cols, tokens=12) for cols in (24, 160)),
    *(Case(tokens=tokens, rows=37) for tokens in (2, 3, 4, 11, 33)),
]


@pytest.fixture
def avx2() -> Machine:
    """This machine, as far as it has AVX2."""
    if not host_features().issuperset(AVX2.needs):
        pytest.skip("this machine has no AVX2")
    return Machine(AVX2, None)


@pytest.mark.parametrize("dtype", ["int4", pytest.param("int8", marks=pytest.mark.slow)])
def test_it_matches_float64(avx2: Machine, dtype: str) -> None:
    check_against_float64(avx2, QUICK, dtype, "c4n_unpacked_gemm")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "int4", "int3", "int2"])
def test_all_shapes_match_float64(avx2: Machine, dtype: str) -> None:
    check_against_float64(avx2, CASES, dtype, "c4n_unpacked_gemm")


def test_the_largest_sums_are_exact(avx2: Machine) -> None:
    check_integer_sums(avx2, tokens=5)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [(1, 8), (2, 3), (4, 2)])
@pytest.mark.parametrize("dtype", ["int8", "int4", "int3"])
def test_every_tile_has_the_bits_of_single_tokens(
    avx2: Machine, dtype: str, tile: tuple[int, int]
) -> None:
    """Sums of a scale group are exact integers, and the groups follow each other alike."""
    cases = [Case(removed=n, tokens=11, rows=264, cols=384, scale_group=128) for n in range(4)]
    decisions = dict(zip(("panels", "tokens"), tile, strict=True))
    funcs, calls, singles = {}, {}, {}
    for case in cases:
        weight, inputs = make(case, dtype)
        spec, one = (spec_for(c, weight, AVX2.lanes) for c in (case, replace(case, tokens=1)))
        name, given = f"n{case.removed}", arguments(case, spec, weight, inputs)[0]
        funcs[name] = chosen(spec, decisions)
        funcs[f"{name}_one"] = chosen(one)
        calls[name] = given
        x, scales, *weights, out = given
        singles[name] = [[x[m : m + 1], scales[m : m + 1], *weights, out[:1]] for m in range(11)]
    found = avx2.run(funcs, calls)
    for name, tokens in singles.items():
        for m, given in enumerate(tokens):
            expected = avx2.run({"one": funcs[f"{name}_one"]}, {"one": given})["one"][-1]
            np.testing.assert_array_equal(found[name][-1][m : m + 1], expected)


def chosen(spec: LinearSpec, decisions: dict[str, int] | None = None) -> PrimFunc:
    """The kernel of an operator, by default or with decisions."""
    answer = schedules.choose(spec, AVX2, None if decisions is None else lambda _: decisions)
    assert answer is not None
    assert decisions is None or "tokens=" in answer[0]
    return answer[1].prim_func()
