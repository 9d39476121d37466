"""The plain definition of products with experts' matrices against its oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.compiled import call_all
from tests.ops.expert_cases import CASES, DIFFERENT, EXPERTS, Case, grouped, made
from tvm_c4n.ops import expert_linear, grouped_linear

# One form in the quick suite: definitions take long to compile.
FORMS = [
    pytest.param(dtype, lanes, marks=() if (dtype, lanes) == ("int4", 8) else pytest.mark.slow)
    for dtype in ("float32", "int8", "int4")
    for lanes in (0, 8)
]


@pytest.mark.parametrize(("dtype", "lanes"), FORMS)
def test_it_reads_the_chosen_of_stored_and_repacked_weights(dtype: str, lanes: int) -> None:
    calls: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    for number, case in enumerate(CASES[:9]):
        spec, arguments, expected[f"case{number}"] = made(case, dtype, lanes)
        calls[f"case{number}"] = expert_linear.define(spec), arguments
    for name, after in call_all(calls).items():
        np.testing.assert_allclose(after[-1], expected[name], rtol=1e-4, atol=1e-4)


def test_a_number_that_is_no_expert_reads_one_that_there_is() -> None:
    spec, arguments, _ = made(Case(tokens=2), "float32", 0)
    one, other = (list(arguments) for _ in range(2))
    one[-2], other[-2] = (np.array(n, np.int32) for n in ([[-1, 99, 2]] * 2, [[0, 4, 2]] * 2))
    func = expert_linear.define(spec)
    found = call_all({"one": (func, one), "other": (func, other)})
    assert EXPERTS == 5
    np.testing.assert_array_equal(found["one"][-1], found["other"][-1])


@pytest.mark.parametrize(("dtype", "lanes"), FORMS)
def test_rows_that_are_ordered_by_expert(dtype: str, lanes: int) -> None:
    calls: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    for removed in (0, 2, DIFFERENT):
        spec, arguments, expected[f"n{removed}"] = grouped(removed, dtype, lanes)
        calls[f"n{removed}"] = grouped_linear.define(spec), arguments
    for name, after in call_all(calls).items():
        np.testing.assert_allclose(after[-1], expected[name], rtol=1e-4, atol=1e-4)
