"""RMSNorm and the quantisation of activations against float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schedules.variants import scheduled
from tvm_c4n.ops import quantize, rms_norm
from tvm_c4n.ops.spec import QuantizeSpec, RmsNormSpec


def test_rms_norm(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected = {}, {}, {}
    for cols in (1, 7, 64, 100, 384):
        for tokens, last in ((1, False), (5, False), (5, True)):
            name = f"r{cols}_{tokens}_{last}"
            x = rng.normal(size=(tokens, cols)).astype(np.float32)
            weight = rng.normal(size=cols).astype(np.float32)
            funcs[name] = scheduled(machine, RmsNormSpec(tokens > 1, cols, 1e-5, last))
            out = np.zeros((1 if last else tokens, cols), np.float32)
            calls[name] = [x, weight, out]
            expected[name] = rms_norm.oracle(x, weight, 1e-5)[-1 if last else 0 :]
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name], rtol=2e-6, atol=1e-7)


def test_quantize(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected = {}, {}, {}
    for cols, group, padded in (
        (64, 64, 64), (384, 64, 384), (24, 64, 64), (100, 32, 128), (300, 128, 384), (3, 32, 64),
    ):  # fmt: skip
        for tokens in (1, 3):
            name = f"q{cols}_{group}_{tokens}"
            width = cols + 5
            x = rng.normal(size=(tokens, width)).astype(np.float32)
            x[0, : min(group, cols)] = 0  # a group of zeros
            spec = QuantizeSpec(tokens > 1, cols, group, padded, width)
            funcs[name] = scheduled(machine, spec)
            q = np.full((tokens, padded), 99, np.int8)
            scales = np.full((tokens, padded // group), np.nan, np.float32)
            calls[name] = [x, q, scales]
            expected[name] = quantize.oracle(x[:, :cols], spec)
    results = machine.run(funcs, calls)
    for name in funcs:
        q, scales = results[name][1:]
        np.testing.assert_allclose(scales, expected[name][1], rtol=1e-6)
        # float32 may round a tie the other way, by one step and rarely
        difference = np.abs(q.astype(int) - expected[name][0])
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 0.01
