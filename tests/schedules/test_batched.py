"""Kernels of batched operators with states against float64."""

from __future__ import annotations

from typing import Any

import schedules
from tests.ops.batched_cases import cases


def test_each_token_has_the_state_of_its_slot(machine: Any) -> None:
    made = {n: c for n, c in cases().items() if schedules.choose(c.spec, machine.isa)}
    assert made.keys() == cases().keys() - {"advance"}
    funcs = {}
    for name, case in made.items():
        answer = schedules.choose(case.spec, machine.isa)
        assert answer is not None
        funcs[name] = answer[1].prim_func()
    found = machine.run(funcs, {name: case.arguments for name, case in made.items()})
    for name, case in made.items():
        case.check(found[name])
