"""C4n GEMV and GEMM against float64, on shapes that do not fit the tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import schedules
from tvm_c4n.ops import c4n_linear, quantize
from tvm_c4n.ops.repack import panel_format, repack
from tvm_c4n.ops.spec import LinearSpec, QuantizeSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.sparsity import C4nWeight, from_dense, mask_from_scores

NMSE = 1e-10
"""Bound of the relative squared error of sums in float32."""


@dataclass(frozen=True)
class Case:
    """One base case; the others change one thing each."""

    rows: int = 64
    cols: int = 128
    removed: int = 2
    tokens: int = 1
    scale_group: int = 64
    bias: bool = False
    residual: bool = False
    extra_width: int = 0


GRID = [
    Case(),
    *(Case(removed=n) for n in (0, 1, 3)),
    *(Case(removed=n, tokens=9) for n in range(4)),
    *(Case(rows=rows) for rows in (1, 3, 17, 56, 255)),
    *(Case(cols=cols, removed=n) for cols in (4, 68, 100, 384) for n in (0, 1, 2, 3)),
    *(Case(cols=cols, removed=0) for cols in (1, 24, 67, 193, 260)),
    *(Case(cols=cols, removed=0, tokens=9) for cols in (24, 160, 260)),
    *(Case(rows=rows, cols=260, removed=0) for rows in (1, 17, 255)),
    *(Case(cols=cols, removed=0, scale_group=g) for g in (32, 128) for cols in (48, 160)),
    *(Case(tokens=tokens, rows=37) for tokens in (2, 6, 7, 13)),
    *(Case(scale_group=g, cols=256, removed=n) for g in (32, 128) for n in (0, 1, 2, 3)),
    Case(bias=True, rows=37),
    Case(residual=True, rows=37),
    Case(bias=True, residual=True, tokens=5),
    Case(removed=0, cols=24, extra_width=32, tokens=3),
]


def make(case: Case, dtype: str, seed: int = 0) -> tuple[C4nWeight, dict[str, np.ndarray]]:
    """A random weight and float inputs."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(case.rows, case.cols)).astype(np.float32)
    dense[0] = 0  # a row of zeros: its scales are zero
    mask = mask_from_scores(np.abs(dense), case.removed) if case.removed else None
    weight = from_dense(dense, case.removed, dtype, mask=mask, scale_group=case.scale_group)
    width = case.cols + case.extra_width
    inputs = {
        "x": rng.normal(size=(case.tokens, width)).astype(np.float32),
        "bias": rng.normal(size=case.rows).astype(np.float32),
        "residual": rng.normal(size=(case.tokens, case.rows)).astype(np.float32),
    }
    inputs["x"][:, : case.cols // 3] *= 50  # outliers: scale groups differ
    return weight, inputs


def spec_for(case: Case, weight: C4nWeight, lanes: int) -> LinearSpec:
    """The operator of a case."""
    return LinearSpec(
        dynamic=case.tokens > 1,
        rows=case.rows,
        cols=case.cols,
        removed=case.removed,
        dtype=weight.dtype,
        scale_group=weight.scale_group,
        lanes=lanes,
        input_width=case.cols + case.extra_width,
        bias=case.bias,
        residual=case.residual,
    )


def arguments(
    case: Case, spec: LinearSpec, weight: C4nWeight, inputs: dict[str, np.ndarray]
) -> tuple[list[Any], np.ndarray]:
    """The arguments of the kernel, and the expected result in float64."""
    x = inputs["x"]
    first, exact = [x], x[:, : case.cols]
    if spec.integer:
        how = QuantizeSpec(
            spec.dynamic, case.cols, case.scale_group, c4n_linear.padded_cols(spec), x.shape[1]
        )
        q, scales = quantize.oracle(x[:, : case.cols], how)
        scales = scales.astype(np.float32)
        groups = q.reshape(case.tokens, -1, case.scale_group) * scales.astype(float)[:, :, None]
        first, exact = [q, scales], groups.reshape(case.tokens, -1)[:, : case.cols]
    bias = inputs["bias"] if case.bias else None
    residual = inputs["residual"] if case.residual else None
    expected = c4n_linear.oracle(exact, weight, bias, residual)
    weights = [repack(weight, spec)] if spec.lanes else stored_arrays(weight)
    rest = [a for a in (bias, residual) if a is not None]
    out = np.full((case.tokens, case.rows), np.nan, np.float32)
    return [*first, *weights, *rest, out], expected


def nmse(found: np.ndarray, expected: np.ndarray) -> float:
    """Squared error relative to the squared size."""
    return float(((found - expected) ** 2).sum() / max((expected**2).sum(), 1e-30))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_kernels_match_float64(machine: Any, dtype: str) -> None:
    funcs, calls, expected = {}, {}, {}
    for index, case in enumerate(GRID):
        if dtype.startswith("int") and case.extra_width:
            continue  # activations are quantised first, which drops the extra columns
        weight, inputs = make(case, dtype, index)
        spec = spec_for(case, weight, machine.isa.lanes)
        name = f"case{index}"
        answer = schedules.choose(spec, machine.isa)
        assert answer is not None
        assert answer[0] == ("c4n_gemm" if spec.dynamic else "c4n_gemv")
        funcs[name] = answer[1].prim_func()
        calls[name], expected[name] = arguments(case, spec, weight, inputs)
        assert repack(weight, spec).shape == panel_format(spec).layout.shape
    results = machine.run(funcs, calls)
    errors = {name: nmse(results[name][-1], expected[name]) for name in funcs}
    wrong = {str(GRID[int(name[4:])]): error for name, error in errors.items() if not error <= NMSE}
    assert not wrong


def test_integer_sums_are_exact(machine: Any) -> None:
    check_integer_sums(machine)


@pytest.mark.slow
def test_avx512_sums_are_exact_on_any_machine(spelled_out: Any) -> None:
    check_integer_sums(spelled_out)


def check_integer_sums(machine: Any) -> None:
    """With scales of one the result is an integer that float32 holds: not one bit may differ."""
    rng = np.random.default_rng(1)
    funcs, calls, expected = {}, {}, {}
    for removed in range(4):
        for dtype, low, top in (("int8", -127, 127), ("int4", -8, 7)):
            dense = rng.choice([low, low, top, 1], size=(33, 256)).astype(np.float32)
            mask = mask_from_scores(rng.random(dense.shape), removed) if removed else None
            scales = np.ones((33, 4), np.float16)
            weight = from_dense(dense, removed, dtype, mask=mask, scales=scales)
            spec = spec_for(Case(33, 256, removed), weight, machine.isa.lanes)
            x = rng.choice([-127, 127, 3], size=(1, 256)).astype(np.int8)
            name = f"{dtype}_{removed}"
            funcs[name] = schedules.choose(spec, machine.isa)[1].prim_func()
            out = np.zeros((1, 33), np.float32)
            calls[name] = [x, np.ones((1, 4), np.float32), repack(weight, spec), out]
            expected[name] = x.astype(np.int64) @ weight.dense().astype(np.int64).T
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_array_equal(results[name][-1], expected[name])
