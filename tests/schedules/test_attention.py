"""Attention against float64: steps and prompts, at the start, around the ring's end, beyond it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.ops.attention_cases import ALONE, FALCON, GRANITE, ODD, make
from tests.schedules.variants import scheduled

CALLS = {
    "granite": (GRANITE, ((1, 130), (60, 300))),
    "granite_more": (GRANITE, ((1, 0), (1, 100), (2, 0))),
    "falcon": (FALCON, ((1, 63), (1, 400), (17, 0), (100, 63))),
    "odd": (ODD, ((1, 2**31 - 1), (70, 11))),
    "odd_more": (ODD, ((1, 64), (9, 62))),
    "alone": (replace(ALONE, half=False), ((1, -1), (40, 20))),
    "alone_more": (replace(ALONE, half=False), ((1, 7), (2, 2**31 - 1))),
}
# A kernel is compiled for each place: one step and one prompt of each kind are quick.
QUICK = ("granite", "odd", "alone")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in CALLS]
)
def test_attention(machine: Any, name: str) -> None:
    spec, places = CALLS[name]
    cases = {f"a{tokens}_{at % 1000}": make(spec, tokens, at) for tokens, at in places}
    funcs = {key: scheduled(machine, case.spec) for key, case in cases.items()}
    results = machine.run(funcs, {key: case.arguments for key, case in cases.items()})
    for key, case in cases.items():
        case.check(results[key])
