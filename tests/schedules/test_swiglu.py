"""SwiGLU against float64, and which columns its tiles read."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schedules.variants import scheduled
from tvm_c4n.ops import swiglu
from tvm_c4n.ops.spec import SwigluSpec


def test_swiglu(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected = {}, {}, {}
    for cols in (1, 7, 64, 100, 384):
        for tokens in (1, 3):
            for fused in (False, True):
                name = f"s{cols}_{tokens}_{fused}"
                gate, up = rng.normal(size=(2, tokens, cols)).astype(np.float32) * 8
                gate[0, 0], gate[-1, -1] = 80, -80  # both tails of the sigmoid
                inputs = [np.concatenate([gate, up], 1)] if fused else [gate, up]
                funcs[name] = scheduled(machine, SwigluSpec(tokens > 1, cols, fused))
                calls[name] = [*inputs, np.zeros((tokens, cols), np.float32)]
                expected[name] = swiglu.oracle(gate, up)
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name], rtol=2e-6, atol=1e-30)
