"""The OpenCL kernels, compiled and run by pocl on this CPU, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import schedules
from tests.schedules.linear_cases import Case, arguments, make, nmse, spec_for
from tvm_c4n.errors import TargetError
from tvm_c4n.ops import quantize, selective_scan, swiglu
from tvm_c4n.ops.isa import OPENCL
from tvm_c4n.ops.spec import OpSpec, QuantizeSpec, RmsNormSpec, ScanSpec, SwigluSpec

NMSE = 1e-10
CASES = [
    *(Case(removed=n, rows=130) for n in range(4)),
    *(Case(removed=n, rows=37, cols=100, tokens=3) for n in range(4)),
    Case(rows=600, cols=256, scale_group=128),
    Case(cols=256, scale_group=32, bias=True, residual=True, tokens=2),
    *(Case(removed=0, cols=cols, rows=130) for cols in (67, 260)),
]


def prim_func(spec: OpSpec) -> Any:
    answer = schedules.choose(spec, OPENCL)
    assert answer is not None
    return answer[1].prim_func()


def names_of(func: Any) -> list[str]:
    """Names of the parameters, in order."""
    return [parameter.name for parameter in func.params]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_c4n_linear(device: Any, case: Case, dtype: str) -> None:
    weight, inputs = make(case, dtype)
    spec = spec_for(case, weight, OPENCL.lanes)
    values, expected = arguments(case, spec, weight, inputs)
    func = prim_func(spec)
    found = device.run(func, dict(zip(names_of(func), values, strict=True)), case.tokens)
    assert nmse(found["out"], expected) <= NMSE


@pytest.mark.parametrize(("tokens", "half"), [(1, False), (5, False), (5, True)])
def test_selective_scan(device: Any, tokens: int, half: bool) -> None:
    rng = np.random.default_rng(tokens)
    channels, n, rank, layers, layer = 100, 6, 3, 2, 1
    spec = ScanSpec(tokens > 1, channels=channels, state=n, layers=layers, dt_rank=rank, half=half)
    arrays = {
        "dt": rng.normal(size=(tokens, channels)) * 8,
        "x": rng.normal(size=(tokens, channels)),
        "bc": rng.normal(size=(tokens, rank + 2 * n)),
        "xz": rng.normal(size=(tokens, 2 * channels)),
        "a": -rng.random((n, channels)) * 4,
        "d": rng.normal(size=channels),
        "state": rng.normal(size=(layers, n, channels)),
        "out": np.full((tokens, channels), np.nan),
    }
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    if half:
        arrays["a"] = arrays["a"].astype(np.float16)
    given = {**arrays, "a": arrays["a"].view(np.uint16) if half else arrays["a"], "layer": layer}
    found = device.run(prim_func(spec), given, tokens)
    bc = arrays["bc"][:, rank:]
    y, state = selective_scan.oracle(
        arrays["dt"],
        arrays["x"],
        bc[:, :n],
        bc[:, n:],
        arrays["xz"][:, channels:],
        arrays["a"],
        arrays["d"],
        arrays["state"][layer],
    )
    assert nmse(found["out"], y) <= NMSE
    assert nmse(found["state"][layer], state) <= NMSE
    np.testing.assert_array_equal(found["state"][0], arrays["state"][0])


@pytest.mark.parametrize(("tokens", "fused"), [(1, False), (3, True)])
def test_swiglu(device: Any, tokens: int, fused: bool) -> None:
    gate, up = np.random.default_rng(0).normal(size=(2, tokens, 100)).astype(np.float32) * 8
    inputs = {"gate_up": np.concatenate([gate, up], 1)} if fused else {"gate": gate, "up": up}
    blank = {"out": np.full((tokens, 100), np.nan, np.float32)}
    func = prim_func(SwigluSpec(tokens > 1, 100, fused))
    found = device.run(func, {**inputs, **blank}, tokens)
    assert nmse(found["out"], swiglu.oracle(gate, up)) <= NMSE


def test_quantize_is_exact(device: Any) -> None:
    spec = QuantizeSpec(dynamic=True, cols=100, group=32, padded=128, input_width=104)
    x = np.random.default_rng(0).normal(size=(3, 104)).astype(np.float32)
    x[1] = 0
    blank = {"q": np.zeros((3, 128), np.int8), "scales": np.zeros((3, 4), np.float32)}
    found = device.run(prim_func(spec), {"x": x, **blank}, 3)
    q, scales = quantize.oracle(x[:, :100], spec)
    np.testing.assert_array_equal(found["q"], q)
    np.testing.assert_allclose(found["scales"], scales, rtol=1e-6)


def test_float16_scales_below_its_normal_numbers(device: Any) -> None:
    """A GPU may flush what these become in float32 arithmetic; the kernel's integers do not."""
    case = Case(removed=3, rows=5)
    weight, inputs = make(case, "int8")
    for row, scale in enumerate((2.0**-24, 3 * 2.0**-20, 2.0**-14, 1.0, 60000.0)):
        weight.scales[row] = np.float16(scale)
    spec = spec_for(case, weight, OPENCL.lanes)
    values, expected = arguments(case, spec, weight, inputs)
    func = prim_func(spec)
    found = device.run(func, dict(zip(names_of(func), values, strict=True)))["out"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_operators_without_a_kernel_are_one_line() -> None:
    with pytest.raises(TargetError, match="no OpenCL kernel for 'rms_norm'"):
        schedules.choose(RmsNormSpec(False, 64, 1e-5), OPENCL)
