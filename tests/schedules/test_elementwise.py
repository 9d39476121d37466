"""RMSNorm and the quantisation of activations against float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import schedules
from relay_passes.regions.parallel import only_parallel
from tests.ops.compiled import call
from tests.schedules.variants import scheduled
from tvm_c4n.ops import quantize, rms_norm, rms_norm_parts
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.spec import QuantizeSpec, RmsNormPartsSpec, RmsNormSpec
from tvm_c4n.ops.tir import build


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


def test_rms_norm_of_groups(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected = {}, {}, {}
    for cols, groups, gap in ((6, 2, 0), (128, 2, 64), (96, 8, 0), (264, 8, 5)):
        for tokens in (1, 3):
            name = f"g{cols}_{groups}_{tokens}"
            # Groups of different sizes of numbers: a mean over all columns would be far off.
            scale = np.repeat(10.0 ** np.arange(groups), cols // groups)
            x = (rng.normal(size=(tokens, cols)) * scale).astype(np.float32)
            gaps = ((0, 0), (0, 0), (0, gap))
            wide = np.pad(x.reshape(tokens, groups, -1), gaps, constant_values=np.nan)
            weight = rng.normal(size=cols).astype(np.float32)
            funcs[name] = scheduled(
                machine, RmsNormSpec(tokens > 1, cols, 1e-5, groups=groups, gap=gap)
            )
            calls[name] = [wide.reshape(tokens, -1), weight, np.zeros((tokens, cols), np.float32)]
            expected[name] = rms_norm.oracle(x, weight, 1e-5, groups)
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name], rtol=2e-6, atol=1e-7)


def test_tiles_of_several_groups() -> None:
    """What a region may ask for: tiles wider than a group, narrower than all columns."""
    spec = RmsNormSpec(False, 64, 1e-5, groups=8)
    answer = schedules.choose(spec, PORTABLE)
    assert answer is not None
    tiles = answer[1].tiles
    assert tiles is not None
    wide = replace(tiles, width=32)
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(1, 64)).astype("f4"), rng.normal(size=64).astype("f4")
    out = call(build(spec, "wide", wide.body), x, weight, np.zeros((1, 64), "f4"))[-1]
    np.testing.assert_allclose(out, rms_norm.oracle(x, weight, 1e-5, 8), rtol=2e-6)


def test_rms_norm_parts(machine: Any) -> None:
    rng = np.random.default_rng(0)
    funcs, calls, expected = {}, {}, {}
    for rank, state in ((5, 3), (48, 16), (256, 16), (7, 64)):
        for tokens in (1, 3):
            name = f"p{rank}_{state}_{tokens}"
            spec = RmsNormPartsSpec(tokens > 1, rank, state, 1e-5)
            x = rng.normal(size=(tokens, spec.cols)).astype(np.float32)
            x[:, :rank] *= 100
            funcs[name] = scheduled(machine, spec)
            calls[name] = [x, np.zeros_like(x)]
            expected[name] = rms_norm_parts.oracle(x, spec)
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_allclose(results[name][-1], expected[name], rtol=2e-6, atol=1e-7)


def test_a_region_can_have_the_norms_of_parts() -> None:
    answer = schedules.choose(RmsNormPartsSpec(False, 48, 16, 1e-5), PORTABLE)
    assert answer is not None
    assert only_parallel(answer[1].prim_func())


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
