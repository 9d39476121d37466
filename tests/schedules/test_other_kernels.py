"""RMSNorm, quantisation, convolution and scan against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import schedules
from tvm_c4n.ops import conv1d, quantize, rms_norm, selective_scan
from tvm_c4n.ops.spec import ConvSpec, QuantizeSpec, RmsNormSpec, ScanSpec


def scheduled(machine: Any, spec: Any) -> Any:
    """The rule's PrimFunc."""
    answer = schedules.choose(spec, machine.isa)
    assert answer is not None
    return answer[1].prim_func()


def default_only(machine: Any, spec: Any) -> dict[str, Any]:
    """The rule's PrimFunc by default."""
    return {"default": scheduled(machine, spec)}


def variants(machine: Any, spec: Any) -> dict[str, Any]:
    """The rule's PrimFunc, by default and with each other candidate of each decision."""
    space = schedules.space_of(spec, machine.isa)
    default = {name: choices[0] for name, choices in space.items()}
    other = [(name, choice) for name, choices in space.items() for choice in choices[1:]]
    found = default_only(machine, spec)
    for name, choice in other:
        answer = schedules.choose(spec, machine.isa, lambda _, c={name: choice}: default | c)
        assert answer is not None
        assert f"{name}={choice}" in answer[0]
        found[f"{name}{choice}"] = answer[1].prim_func()
    return found


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


def test_conv1d(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected, layer = {}, {}, {}, 1
    for channels in (3, 16, 37, 64):
        for tokens in (1, 2, 3, 9):
            x = rng.normal(size=(tokens, channels * 2)).astype(np.float32)
            weight = rng.normal(size=(4, channels)).astype(np.float32)
            bias = rng.normal(size=channels).astype(np.float32)
            state = rng.normal(size=(3, 3, channels)).astype(np.float32)
            spec = ConvSpec(tokens > 1, channels, 4, 3, channels * 2)
            out = np.zeros((tokens, channels), np.float32)
            y, new = conv1d.oracle(x[:, :channels], weight, bias, state[layer])
            states = state.copy()
            states[layer] = new
            made = variants if channels == 64 else default_only
            for decided, func in made(machine, spec).items():
                name = f"c{channels}_{tokens}_{decided}"
                funcs[name], expected[name] = func, (y, states)
                calls[name] = [x, weight, bias, state, layer, out]
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name][0], rtol=2e-6, atol=2e-6)
        np.testing.assert_array_equal(results[name][3], expected[name][1].astype(np.float32))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, 33])
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
