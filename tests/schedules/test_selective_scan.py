"""The selective scan against float64, with each decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.schedules.variants import default_only, variants
from tvm_c4n.ops import selective_scan
from tvm_c4n.ops.spec import ScanSpec


@pytest.mark.parametrize(
    ("tokens", "half"),
    [(1, False), (33, True)]
    + [pytest.param(*case, marks=pytest.mark.slow) for case in ((2, False), (33, False), (1, True))]
    + [pytest.param(2, True, marks=pytest.mark.slow)],
)
def test_selective_scan(machine: Any, tokens: int, half: bool) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected, layer = {}, {}, {}, 1
    for channels in (3, 16, 37, 64):
        states, rank = 16, 5
        dt, x = rng.normal(size=(2, tokens, channels)).astype(np.float32) * 3
        dt[0, 0], dt[-1, -1] = 40, -40  # both tails of softplus
        bc = rng.normal(size=(tokens, rank + 2 * states)).astype(np.float32)
        xz = rng.normal(size=(tokens, 2 * channels)).astype(np.float32)
        a = -np.exp(rng.normal(size=(states, channels))).astype("f2" if half else "f4")
        d = rng.normal(size=channels).astype(np.float32)
        state = rng.normal(size=(2, states, channels)).astype(np.float32)
        out = np.zeros((tokens, channels), np.float32)
        b, c = bc[:, rank : rank + states], bc[:, rank + states :]
        y, h = selective_scan.oracle(dt, x, b, c, xz[:, channels:], a, d, state[layer])
        spec = ScanSpec(tokens > 1, channels, states, 2, rank, half)
        made = variants if channels == 64 else default_only
        for decided, func in made(machine, spec).items():
            name = f"s{channels}_{decided}"
            funcs[name], expected[name] = func, (y, h, state[0])
            calls[name] = [dt, x, bc, xz, a.view("u2") if half else a, d, state, layer, out]
    results = machine.run(funcs, calls)
    for name in funcs:
        y, h, untouched = expected[name]
        np.testing.assert_allclose(results[name][-1], y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(results[name][6][layer], h, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(results[name][6][0], untouched)
