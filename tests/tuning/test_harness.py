"""The harness that is timed: how often it runs the kernel, on which memory, with which numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_c4n._tvm import tvm
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.model.config import MAX_TOKENS
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ConvSpec, LinearSpec, OpSpec
from tvm_c4n.ops.tir import Kernel

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.harness import MAX_REPEATS, WEIGHTLESS_REPEATS, build_harness

TARGET = resolve_target("host")
LANES = isa_of(TARGET).lanes


def kernel_of(spec: OpSpec) -> Kernel:
    answer = selector(TARGET)(spec)
    assert answer is not None
    return answer[1]


def linear(rows: int, *, dynamic: bool = False) -> Kernel:
    return kernel_of(LinearSpec(dynamic, rows, 64, 2, "float32", 0, LANES, 64))


def test_a_one_token_kernel_cycles_through_copies_of_its_weights() -> None:
    one = build_harness(linear(64), 0)
    assert one.repeats == 1
    weight_bytes = one.arguments[1].size_bytes
    some = build_harness(linear(64), 10 * weight_bytes + 1)
    assert some.repeats == 10
    assert some.arguments[1].shape == (10, *one.arguments[1].shape[1:])
    assert build_harness(linear(64), 2**40).repeats == MAX_REPEATS


def test_other_kernels_have_fixed_numbers_of_repeats() -> None:
    assert build_harness(kernel_of(ConvSpec(False, 64, 4, 2, 128)), 2**26).repeats == (
        WEIGHTLESS_REPEATS
    )


def test_a_kernel_for_prompts_cycles_through_copies_of_all_its_tensors(tmp_path: Path) -> None:
    one = build_harness(linear(64, dynamic=True), 0)
    assert one.repeats == 1
    assert one.arguments[0].shape == (MAX_TOKENS, 64)
    some = build_harness(
        linear(64, dynamic=True), 2 * sum(each.size_bytes for each in one.arguments) + 1
    )
    assert some.repeats == 3
    assert [a.shape for a in some.arguments] == [(3, *a.shape) for a in one.arguments]
    found = []
    for name, harness in (("one.so", one), ("some.so", some)):
        harness.compile(TARGET, tmp_path / name)
        module = tvm.runtime.load_module(str(tmp_path / name))
        arguments = [tvm.runtime.empty(a.shape, a.dtype) for a in harness.arguments]
        for argument, number in zip(arguments, (1, 0.5, np.nan), strict=True):
            argument.copyfrom(np.full(argument.shape, number, argument.dtype))
        module["main"](*arguments)
        found.append(arguments[-1].numpy())
    assert np.isfinite(found[0]).all()
    for copy in found[1]:
        np.testing.assert_array_equal(copy, found[0])


def test_the_library_fills_its_arguments_and_runs(tmp_path: Path) -> None:
    harness = build_harness(linear(64), 2**16)
    harness.compile(TARGET, tmp_path / "kernel.so")
    module = tvm.runtime.load_module(str(tmp_path / "kernel.so"))
    arguments = [tvm.runtime.empty(a.shape, a.dtype) for a in harness.arguments]
    module["fill"](*arguments)
    x, weights, out = (argument.numpy() for argument in arguments)
    # Whole pages of the same byte would stay in the cache.
    assert len(np.unique(weights)) > 100
    assert np.isfinite(x).all()
    module["main"](*arguments)
    assert (arguments[2].numpy() != out).any()
