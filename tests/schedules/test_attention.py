"""Attention against float64: steps and prompts, at the start, around the ring's end, beyond it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.ops.attention_cases import ALONE, FALCON, GRANITE, ODD, make
from tests.schedules.variants import scheduled

CALLS = {
    "granite": (GRANITE, ((1, 0), (1, 100), (1, 130), (2, 0), (60, 300))),
    "falcon": (FALCON, ((1, 63), (1, 400), (17, 0), (100, 63))),
    "odd": (ODD, ((1, 64), (1, 2**31 - 1), (9, 62), (70, 11))),
    "alone": (replace(ALONE, half=False), ((1, 7), (1, -1), (2, 2**31 - 1), (40, 20))),
}


# Falcon-H1's brings nothing that the others do not: heads that share keys, and a rotation of all.
QUICK = [pytest.param(name, marks=[pytest.mark.slow] * (name == "falcon")) for name in CALLS]


@pytest.mark.parametrize("name", QUICK)
def test_attention(machine: Any, name: str) -> None:
    spec, places = CALLS[name]
    cases = {f"a{tokens}_{at % 1000}": make(spec, tokens, at) for tokens, at in places}
    funcs = {key: scheduled(machine, case.spec) for key, case in cases.items()}
    results = machine.run(funcs, {key: case.arguments for key, case in cases.items()})
    for key, case in cases.items():
        case.check(results[key])
