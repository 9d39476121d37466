"""Mamba-2's scan against float64, with each decision."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schedules.ssd_case import make
from tests.schedules.variants import default_only, variants
from tvm_c4n.ops.spec import NO_LIMIT, SsdSpec

# heads, head_dim, state, groups
SHAPES = [(1, 37, 5, 1), (2, 32, 16, 2), (4, 64, 64, 1), (17, 3, 7, 1), (8, 16, 128, 8)]


@pytest.mark.parametrize(
    ("tokens", "half"),
    [(1, False), (33, False)]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in ((3, False), (1, True), (3, True), (33, True))
    ],
)
def test_ssd_scan(machine: Any, tokens: int, half: bool) -> None:
    funcs, cases = {}, {}
    for heads, head_dim, state, groups in SHAPES:
        spec = SsdSpec(tokens > 1, heads, head_dim, state, 2, groups, half=half)
        made = variants if head_dim == 64 and tokens == 33 and not half else default_only
        for decided, func in made(machine, spec).items():
            name = f"s{heads}_{head_dim}_{state}_{decided}"
            funcs[name], cases[name] = func, make(spec, tokens)
    found = machine.run(funcs, {name: case.arguments for name, case in cases.items()})
    for name, case in cases.items():
        case.check(found[name])


@pytest.mark.parametrize("tokens", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_limits_of_delta(machine: Any, tokens: int) -> None:
    funcs, cases = {}, {}
    for low, high in ((0.5, 1.0), (0.0, 0.25), (2.0, NO_LIMIT)):
        spec = SsdSpec(tokens > 1, 4, 16, 8, 2, low=low, high=high)
        name = f"low{low}"
        funcs[name] = default_only(machine, spec)["default"]
        cases[name] = make(spec, tokens)
    found = machine.run(funcs, {name: case.arguments for name, case in cases.items()})
    for name, case in cases.items():
        case.check(found[name])
