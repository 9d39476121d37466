"""The squared ReLU against float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schedules.variants import scheduled
from tvm_c4n.ops import relu_squared
from tvm_c4n.ops.spec import ReluSquaredSpec


def test_relu_squared(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected = {}, {}, {}
    for cols in (1, 7, 64, 100):
        for tokens, batched in ((1, False), (3, False), (3, True)):
            name = f"r{cols}_{tokens}_{batched}"
            x = rng.normal(size=(tokens, cols)).astype(np.float32)
            spec = ReluSquaredSpec(tokens > 1, cols, batched=batched)
            funcs[name] = scheduled(machine, spec)
            calls[name] = [x, np.zeros((tokens, cols), np.float32)]
            expected[name] = relu_squared.oracle(x)
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name], rtol=2e-6)
