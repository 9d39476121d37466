"""Cases of linear operators, and how far their kernels are from float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import schedules
from tvm_c4n.ops import c4n_linear, quantize
from tvm_c4n.ops.repack import panel_format, repack
from tvm_c4n.ops.spec import LinearSpec, QuantizeSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.sparsity import C4nWeight, from_dense, mask_from_scores

# Bound of the relative squared error of sums in float32.
NMSE = 1e-10


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
    factor: float = 1.0
    batched: bool = False


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
        dynamic=case.tokens > 1 or case.batched,
        batched=case.batched,
        rows=case.rows,
        cols=case.cols,
        removed=case.removed,
        dtype=weight.dtype,
        scale_group=weight.scale_group,
        lanes=lanes,
        input_width=case.cols + case.extra_width,
        bias=case.bias,
        residual=case.residual,
        factor=0.0 if case.factor == 1 else case.factor,
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
    expected = c4n_linear.oracle(exact, weight, bias, residual, case.factor)
    weights = [repack(weight, spec)] if spec.lanes else stored_arrays(weight)
    rest = [a for a in (bias, residual) if a is not None]
    out = np.full((case.tokens, case.rows), np.nan, np.float32)
    return [*first, *weights, *rest, out], expected


def nmse(found: np.ndarray, expected: np.ndarray) -> float:
    """Squared error relative to the squared size."""
    return float(((found - expected) ** 2).sum() / max((expected**2).sum(), 1e-30))


def check_against_float64(machine: Any, cases: list[Case], dtype: str, *rules: str) -> None:
    """Compile the cases together, run each, and compare with the oracle.

    Each kernel is to be of one of the rules.
    """
    funcs, calls, expected = {}, {}, {}
    for index, case in enumerate(cases):
        if dtype.startswith("int") and case.extra_width:
            continue  # activations are quantised first, which drops the extra columns
        weight, inputs = make(case, dtype, index)
        spec = spec_for(case, weight, machine.isa.lanes)
        name = f"case{index}"
        answer = schedules.choose(spec, machine.isa)
        assert answer is not None
        assert answer[0] in rules
        funcs[name] = answer[1].prim_func()
        calls[name], expected[name] = arguments(case, spec, weight, inputs)
        assert repack(weight, spec).shape == panel_format(spec).layout.shape
    results = machine.run(funcs, calls)
    errors = {name: nmse(results[name][-1], expected[name]) for name in funcs}
    wrong = {
        str(cases[int(name[4:])]): error for name, error in errors.items() if not error <= NMSE
    }
    assert not wrong
