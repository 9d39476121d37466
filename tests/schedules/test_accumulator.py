"""Integer sums and their zero-point corrections are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import schedules
from tests.schedules.linear_cases import Case, spec_for
from tvm_c4n.ops.repack import repack
from tvm_c4n.sparsity import from_dense, mask_from_scores


def test_integer_sums_are_exact(machine: Any) -> None:
    check_integer_sums(machine)


@pytest.mark.slow
def test_avx512_sums_are_exact_on_any_machine(spelled_out: Any) -> None:
    check_integer_sums(spelled_out)


def check_integer_sums(machine: Any, tokens: int = 1) -> None:
    """With scales of one the result is an integer that float32 holds: not one bit may differ.

    Scale groups have as many kept weights as sums of 16 bits hold, of which some rows have the
    largest products.
    """
    rng = np.random.default_rng(1)
    funcs, calls, expected = {}, {}, {}
    for removed, group in ((0, 64), (1, 64), (2, 128), (3, 256)):
        for dtype, low, top in (("int8", -127, 127), ("int4", -8, 7)):
            dense = rng.choice([low, low, top, 1], size=(33, 256)).astype(np.float32)
            dense[0], dense[1] = low, top
            mask = mask_from_scores(rng.random(dense.shape), removed) if removed else None
            scales = np.ones((33, 256 // group), np.float16)
            weight = from_dense(dense, removed, dtype, mask=mask, scales=scales, scale_group=group)
            case = Case(33, 256, removed, tokens, scale_group=group)
            spec = spec_for(case, weight, machine.isa.lanes)
            x = rng.choice([-127, 127, 3], size=(tokens, 256)).astype(np.int8)
            x[0] = 127 * (-1) ** removed
            name = f"{dtype}_{removed}"
            funcs[name] = schedules.choose(spec, machine.isa)[1].prim_func()
            out = np.zeros((tokens, 33), np.float32)
            ones = np.ones((tokens, 256 // group), np.float32)
            calls[name] = [x, ones, repack(weight, spec), out]
            expected[name] = x.astype(np.int64) @ weight.dense().astype(np.int64).T
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_array_equal(results[name][-1], expected[name])
