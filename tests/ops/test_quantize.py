"""The plain definition of the quantisation of activations against its oracle."""

from __future__ import annotations

import numpy as np

from tests.ops.compiled import call
from tvm_c4n.ops import quantize
from tvm_c4n.ops.spec import QuantizeSpec


def test_definition() -> None:
    x = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
    x[1, :8] = 0  # a group of zeros has the scale 0
    spec = QuantizeSpec(True, 12, 8, 24, 12)
    buffers = np.ones((3, 24), np.int8), np.ones((3, 3), np.float32)
    q, scales = call(quantize.define(spec), x, *buffers)[1:]
    np.testing.assert_array_equal(q, quantize.oracle(x, spec)[0])
    np.testing.assert_allclose(scales, quantize.oracle(x, spec)[1], rtol=1e-6)
    assert scales[1, 0] == 0


def test_parts_are_padded_one_by_one() -> None:
    x = np.random.default_rng(0).normal(size=(2, 24)).astype(np.float32)
    spec = QuantizeSpec(True, 12, 8, 16, 24, parts=2)
    buffers = np.ones((2, 32), np.int8), np.ones((2, 4), np.float32)
    q, scales = call(quantize.define(spec), x, *buffers)[1:]
    for part in range(2):
        alone = quantize.oracle(x[:, 12 * part :][:, :12], QuantizeSpec(True, 12, 8, 16, 12))
        np.testing.assert_array_equal(q[:, 16 * part :][:, :16], alone[0])
        np.testing.assert_allclose(scales[:, 2 * part :][:, :2], alone[1], rtol=1e-6)
