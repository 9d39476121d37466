"""Rotations against float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schedules.variants import scheduled
from tvm_c4n.ops import rotary
from tvm_c4n.ops.spec import RotarySpec


def test_rotary(machine: Any) -> None:
    frequencies = rotary.frequencies(22, 1e4)
    places = ((0, 70), (131000, 70), (131072, 1))
    funcs, calls = {}, {}
    for at, tokens in places:
        funcs[f"r{at}"] = scheduled(machine, RotarySpec(tokens > 1, 22))
        calls[f"r{at}"] = [np.array([at], "i4"), frequencies, np.zeros((tokens, 22), "f4")]
    results = machine.run(funcs, calls)
    for at, tokens in places:
        expected = rotary.oracle(frequencies, at, tokens)
        np.testing.assert_allclose(results[f"r{at}"][-1], expected, rtol=0, atol=2e-7)
