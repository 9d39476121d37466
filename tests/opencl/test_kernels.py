"""The OpenCL kernels, compiled and run by pocl on this CPU, against float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import schedules
from schedules.opencl.grid import GROUP, float_to_half, grid
from tests.ops.attention_cases import FALCON, ODD
from tests.ops.attention_cases import make as make_attention
from tests.schedules import ssd_case
from tests.schedules.linear_cases import Case, arguments, make, nmse, spec_for
from tvm_c4n._tvm import T
from tvm_c4n.errors import TargetError
from tvm_c4n.ops import quantize, rotary, selective_scan, swiglu, tir
from tvm_c4n.ops.isa import OPENCL
from tvm_c4n.ops.spec import (
    AdvanceSpec,
    AttentionSpec,
    OpSpec,
    QuantizeSpec,
    RmsNormSpec,
    RotarySpec,
    ScanSpec,
    SsdSpec,
    SwigluSpec,
)

NMSE = 1e-10
SLOW = pytest.mark.slow
CASES = [
    *(Case(removed=n, rows=130) for n in range(4)),
    *(Case(removed=n, rows=37, cols=100, tokens=3) for n in range(4)),
    Case(rows=600, cols=256, scale_group=128),
    Case(cols=256, scale_group=32, bias=True, residual=True, tokens=2, factor=0.3),
    *(Case(removed=0, cols=cols, rows=130) for cols in (67, 260)),
]


def prim_func(spec: OpSpec) -> Any:
    answer = schedules.choose(spec, OPENCL)
    assert answer is not None
    return answer[1].prim_func()


def names_of(func: Any) -> list[str]:
    """Names of the parameters, in order."""
    return [parameter.name for parameter in func.params]


@pytest.mark.parametrize(
    "dtype",
    [
        "int4",
        "int3",
        *(pytest.param(dtype, marks=SLOW) for dtype in ("float32", "float16", "int8", "int2")),
    ],
)
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


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("tokens", "groups"), [(1, 1), (5, 3)])
def test_ssd_scan(device: Any, tokens: int, groups: int, half: bool) -> None:
    spec = SsdSpec(tokens > 1, 3, 37, 16, 2, groups, low=0.01, high=4.0, half=half)
    case = ssd_case.make(spec, tokens)
    found = device.run(prim_func(spec), case.named, tokens)
    case.check([found.get(name) for name in case.named])


def test_float32_becomes_the_nearest_float16(device: Any) -> None:
    ties = [1 + 2**-11, 1 + 3 * 2**-11, 65519.9, 65520, 2**-25, 3 * 2**-25, 2**-14 - 2**-26]
    spread = 2.0 ** np.random.default_rng(0).uniform(-27, 17, 128 - len(ties) - 1)
    x = np.array([0, *ties, *spread], np.float32)
    x = np.concatenate([x, -x]).reshape(1, -1)

    def body() -> None:
        source = tir.declare_or_bind("x", x.shape)
        out = tir.declare_or_bind("out", x.shape, "uint16")
        with grid(x.shape[1] // GROUP, 1) as (group, _, item):
            at = group * GROUP + item
            T.buffer_store(out, T.cast(float_to_half(source[0, at]), "uint16"), [0, at])

    func = tir.build(RmsNormSpec(False, 1, 0.0), "halves", body)
    found = device.run(func, {"x": x, "out": np.zeros(x.shape, np.uint16)})["out"]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found.view(np.float16), x.astype(np.float16))


@pytest.mark.parametrize(
    ("spec", "tokens", "position"),
    [
        (FALCON, 1, 200),
        (FALCON, 9, 0),
        (replace(ODD, half=False), 1, 3),
        (ODD, 5, 62),
        (ODD, 70, 11),
    ],
)
def test_attention(device: Any, spec: AttentionSpec, tokens: int, position: int) -> None:
    case = make_attention(spec, tokens, position)
    func = prim_func(case.spec)
    names = names_of(func)
    found = device.run(func, dict(zip(names, case.arguments, strict=True)), tokens)
    case.check([found.get(name) for name in names])


def test_position(device: Any) -> None:
    position, frequencies = np.array([130000], np.int32), rotary.frequencies(20, 1e4)
    given = {"position": position, "frequencies": frequencies, "out": np.zeros((3, 20), "f4")}
    found = device.run(prim_func(RotarySpec(True, 20)), given, 3)
    expected = rotary.oracle(frequencies, 130000, 3)
    np.testing.assert_allclose(found["out"], expected, rtol=0, atol=1e-6)
    ids = np.zeros(5, np.int32)
    found = device.run(prim_func(AdvanceSpec(True)), {"ids": ids, "position": position}, 5)
    assert found["position"].tolist() == [130005]


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
