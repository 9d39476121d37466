"""Kernels of experts against float64: the router's choice, and the chosen ones' products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import schedules
from tests.ops.expert_cases import CASES, made
from tests.schedules.linear_cases import NMSE, nmse
from tests.schedules.variants import scheduled
from tvm_c4n.ops import route
from tvm_c4n.ops.spec import RouteSpec


@pytest.mark.parametrize(
    "dtype", ["int4", *(pytest.param(d, marks=pytest.mark.slow) for d in ("float16", "int8"))]
)
def test_products_with_the_chosen(machine: Any, dtype: str) -> None:
    funcs, calls, expected = {}, {}, {}
    for number, case in enumerate(CASES):
        spec, arguments, result = made(case, dtype, machine.isa.lanes)
        name = f"case{number}"
        answer = schedules.choose(spec, machine.isa)
        assert answer is not None
        assert answer[0] == "expert_gemv"
        funcs[name], calls[name], expected[name] = answer[1].prim_func(), arguments, result
    results = machine.run(funcs, calls)
    errors = {name: nmse(results[name][-1], expected[name]) for name in funcs}
    wrong = {str(CASES[int(n[4:])]): error for n, error in errors.items() if not error <= NMSE}
    assert not wrong


def test_the_choice(machine: Any) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    funcs, calls = {}, {}
    for tokens in (1, 3):
        funcs[f"of{tokens}"] = scheduled(machine, RouteSpec(tokens > 1, 64, 6))
        out = np.zeros((tokens, 6), np.int32), np.zeros((tokens, 6), np.float32)
        calls[f"of{tokens}"] = [logits[:tokens], *out]
    for name, (_, chosen, shares) in machine.run(funcs, calls).items():
        expected = route.oracle(calls[name][0], 6)
        np.testing.assert_array_equal(chosen, expected[0])
        np.testing.assert_allclose(shares, expected[1], rtol=1e-6)
