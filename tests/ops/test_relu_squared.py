"""The plain definition of the squared ReLU against its oracle."""

from __future__ import annotations

import numpy as np

from tests.ops.compiled import call
from tvm_c4n.ops import relu_squared
from tvm_c4n.ops.spec import ReluSquaredSpec


def test_definition() -> None:
    x = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    out = call(relu_squared.define(ReluSquaredSpec(True, 7)), x, np.zeros((3, 7), "f4"))[-1]
    np.testing.assert_allclose(out, relu_squared.oracle(x), rtol=1e-6)
    assert (out[x < 0] == 0).all()
