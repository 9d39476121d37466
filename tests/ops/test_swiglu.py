"""The plain definition of SwiGLU against its oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import swiglu
from tvm_c4n.ops.spec import SwigluSpec


@pytest.mark.parametrize("fused", [False, True])
def test_definition(fused: bool) -> None:
    gate, up = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
    inputs = [np.concatenate([gate, up], 1)] if fused else [gate, up]
    out = call(swiglu.define(SwigluSpec(True, 7, fused)), *inputs, np.zeros((3, 7), "f4"))[-1]
    np.testing.assert_allclose(out, swiglu.oracle(gate, up), rtol=1e-6)
