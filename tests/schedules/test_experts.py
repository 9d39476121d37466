"""Kernels of experts against float64: the router's choice, and the chosen ones' products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import schedules
from tests.ops.expert_cases import CASES, DIFFERENT, grouped, made
from tests.schedules.linear_cases import NMSE, nmse
from tests.schedules.variants import scheduled
from tvm_c4n.ops import expert_groups, route
from tvm_c4n.ops.spec import MixSpec, RouteSpec, SpreadSpec

DTYPES = pytest.mark.parametrize(
    "dtype", ["int4", *(pytest.param(d, marks=pytest.mark.slow) for d in ("float16", "int8"))]
)


@DTYPES
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


@DTYPES
def test_products_of_all_tokens_of_an_expert(machine: Any, dtype: str) -> None:
    funcs, calls, expected = {}, {}, {}
    for removed in (0, 2, DIFFERENT):
        spec, calls[f"n{removed}"], expected[f"n{removed}"] = grouped(
            removed, dtype, machine.isa.lanes
        )
        answer = schedules.choose(spec, machine.isa)
        assert answer is not None
        assert answer[0] == "expert_gemm"
        funcs[f"n{removed}"] = answer[1].prim_func()
    for name, after in machine.run(funcs, calls).items():
        assert nmse(after[-1], expected[name]) <= NMSE, name


def test_rows_of_pairs(machine: Any) -> None:
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 4, (5, 3))
    places, _ = expert_groups.oracle(chosen, 4)
    x, residual = rng.normal(size=(2, 5, 37)).astype(np.float32)
    shares = rng.uniform(size=chosen.shape).astype(np.float32)
    small = rng.integers(-127, 128, (5, 70)).astype(np.int8)
    pairs = {}
    for name, values in (("float32", x), ("int8", small)):
        pairs[name] = np.empty((15, values.shape[1]), values.dtype)
        pairs[name][places] = values[:, None]
    funcs = {
        "float32": scheduled(machine, SpreadSpec(True, 37, 3, "float32")),
        "int8": scheduled(machine, SpreadSpec(True, 70, 3, "int8")),
        "mix": scheduled(machine, MixSpec(True, 37, 3)),
    }
    calls = {
        "float32": [x, places, np.zeros_like(pairs["float32"])],
        "int8": [small, places, np.zeros_like(pairs["int8"])],
        "mix": [pairs["float32"], places, shares, residual, np.zeros_like(x)],
    }
    found = machine.run(funcs, calls)
    for name, values in pairs.items():
        np.testing.assert_array_equal(found[name][-1], values)
    expected = residual + shares.sum(1, keepdims=True) * x
    np.testing.assert_allclose(found["mix"][-1], expected, rtol=1e-5, atol=1e-6)


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
