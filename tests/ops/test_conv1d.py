"""The plain definition of the convolution against its oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import conv1d
from tvm_c4n.ops.spec import ConvSpec


@pytest.mark.parametrize(("first", "gated"), [(0, False), (4, False), (0, True), (2, True)])
def test_definition(first: int, gated: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 17)).astype(np.float32)
    read = 15 if gated else 5
    taps, bias = rng.normal(size=(4, 5)).astype("f4"), rng.normal(size=5).astype("f4")
    state = rng.normal(size=(2, 3, 5)).astype(np.float32)
    func = conv1d.define(ConvSpec(True, 5, 4, 2, 17, first, gated))
    found = call(func, x, taps, bias, state, 1, np.zeros((3, 5), "f4"))
    y, new = conv1d.oracle(x[:, first : first + read], taps, bias, state[1], gated=gated)
    np.testing.assert_allclose(found[-1], y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[3][1], new.astype(np.float32))
    np.testing.assert_array_equal(found[3][0], state[0])
