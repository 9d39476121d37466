"""The plain definition of the linear operator against its oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.compiled import call_all
from tvm_c4n.ops import c4n_linear, quantize
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import LinearSpec, QuantizeSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.sparsity import from_dense, mask_from_scores


@pytest.mark.parametrize("lanes", [0, 4, 16])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4", "int3"])
def test_it_reads_stored_and_repacked_weights(dtype: str, lanes: int) -> None:
    rng = np.random.default_rng(0)
    calls: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    for removed in range(4):
        dense = rng.normal(size=(21, 136)).astype(np.float32)
        mask = mask_from_scores(np.abs(dense), removed) if removed else None
        weight = from_dense(dense, removed, dtype, mask=mask)
        own = (removed, dtype, weight.scale_group, lanes)
        spec = LinearSpec(True, 21, 136, *own, 136, bias=True, residual=True, factor=removed / 2)
        x = rng.normal(size=(2, 136)).astype(np.float32)
        first: list[Any] = [x]
        if spec.integer:
            how = QuantizeSpec(True, 136, 64, c4n_linear.padded_cols(spec), 136)
            q, scales = quantize.oracle(x, how)
            first = [q, scales.astype(np.float32)]
            groups = q.reshape(2, -1, 64) * scales[:, :, None]
            x = groups.reshape(2, -1)[:, :136]
        weights = [repack(weight, spec)] if lanes else stored_arrays(weight)
        bias, residual = rng.normal(size=21).astype("f4"), rng.normal(size=(2, 21)).astype("f4")
        rest = (bias, residual, np.zeros((2, 21), "f4"))
        calls[f"n{removed}"] = c4n_linear.define(spec), (*first, *weights, *rest)
        factor = spec.factor or 1.0
        expected[f"n{removed}"] = c4n_linear.oracle(x, weight, bias, residual, factor)
    for name, after in call_all(calls).items():
        np.testing.assert_allclose(after[-1], expected[name], rtol=1e-4, atol=1e-4)
