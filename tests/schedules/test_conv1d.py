"""The convolution against float64, with each decision."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schedules.variants import default_only, variants
from tvm_c4n.ops import conv1d
from tvm_c4n.ops.spec import ConvSpec


def test_conv1d(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected, layer = {}, {}, {}, 1
    shapes = [(channels, False) for channels in (3, 16, 37, 64)] + [(37, True), (64, True)]
    for channels, gated in shapes:
        for tokens in (1, 2, 3, 9):
            x = rng.normal(size=(tokens, channels * 4)).astype(np.float32)
            weight = rng.normal(size=(4, channels)).astype(np.float32)
            bias = rng.normal(size=channels).astype(np.float32)
            state = rng.normal(size=(3, 3, channels)).astype(np.float32)
            first = channels // 2 if channels != 16 else 0
            spec = ConvSpec(tokens > 1, channels, 4, 3, channels * 4, first, gated)
            out = np.zeros((tokens, channels), np.float32)
            own = x[:, first:][:, : channels * (3 if gated else 1)]
            y, new = conv1d.oracle(own, weight, bias, state[layer], gated=gated)
            states = state.copy()
            states[layer] = new
            made = variants if channels == 64 and not gated else default_only
            for decided, func in made(machine, spec).items():
                name = f"c{channels}_{gated}_{tokens}_{decided}"
                funcs[name], expected[name] = func, (y, states)
                calls[name] = [x, weight, bias, state, layer, out]
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name][0], rtol=2e-6, atol=2e-6)
        np.testing.assert_array_equal(results[name][3], expected[name][1].astype(np.float32))
