"""The gated delta rule against float64, with each decision."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schedules.delta_case import make
from tests.schedules.variants import default_only, variants
from tvm_c4n.ops.spec import DeltaSpec

# heads, head_dim, key_heads, key_dim
SHAPES = [(1, 37, 1, 5), (4, 32, 2, 16), (6, 3, 2, 7), (2, 128, 2, 128)]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("tokens", "made"),
    [
        (1, default_only),
        (33, default_only),
        pytest.param(2, variants, marks=SLOW),
        pytest.param(33, variants, marks=SLOW),
    ],
)
def test_delta_rule(machine: Any, tokens: int, made: Any) -> None:
    funcs, cases = {}, {}
    for heads, head_dim, key_heads, key_dim in SHAPES:
        spec = DeltaSpec(tokens > 1, heads, head_dim, key_heads, key_dim, 2, 1e-6)
        for decided, func in made(machine, spec).items():
            name = f"d{heads}_{head_dim}_{key_dim}_{decided}"
            funcs[name], cases[name] = func, make(spec, tokens)
    found = machine.run(funcs, {name: case.arguments for name, case in cases.items()})
    for name, case in cases.items():
        case.check(found[name])
