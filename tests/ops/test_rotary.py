"""Rotations against float64 and against what transformers computes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import rotary
from tvm_c4n.ops.spec import RotarySpec

# The first and last place of texts of 128 Ki tokens, and what float32 holds exactly.
POSITIONS = (0, 1000, 131069, 2**24 - 3)


@pytest.mark.parametrize("position", POSITIONS)
def test_definition(position: int) -> None:
    frequencies = rotary.frequencies(16, 10000.0)
    func = rotary.define(RotarySpec(True, 16))
    out = call(func, np.array([position], "i4"), frequencies, np.zeros((3, 16), "f4"))[-1]
    np.testing.assert_allclose(out, rotary.oracle(frequencies, position, 3), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("dims", "theta"), [(64, 1e11), (64, 1e4), (128, 1e6), (32, 5e5)])
def test_frequencies_are_those_of_transformers(dims: int, theta: float) -> None:
    """Its formula, but for the last bit of a few: torch's powers are not rounded exactly."""
    torch = pytest.importorskip("torch")
    steps = torch.arange(0, dims, 2, dtype=torch.int64).to(torch.float) / dims
    bits = [x.view(np.int32) for x in (rotary.frequencies(dims, theta), (1 / theta**steps).numpy())]
    difference = np.abs(bits[0] - bits[1])
    assert difference.max() <= 1
    assert difference.mean() < 0.05
