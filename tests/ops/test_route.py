"""The router's choice against its oracle."""

from __future__ import annotations

import numpy as np

from tests.ops.compiled import call
from tvm_c4n.ops import route
from tvm_c4n.ops.spec import RouteSpec


def test_the_best_are_chosen_and_share() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32) * 3
    logits[1] = 0.5  # of equals the first ones
    logits[2, 3:6] = 7
    logits[3] = -1e30
    buffers = np.zeros((4, 3), np.int32), np.zeros((4, 3), np.float32)
    _, chosen, shares = call(route.define(RouteSpec(True, 9, 3)), logits, *buffers)
    expected = route.oracle(logits, 3)
    np.testing.assert_array_equal(chosen, expected[0])
    np.testing.assert_allclose(shares, expected[1], rtol=1e-6)
    assert chosen[1].tolist() == [0, 1, 2]


def test_what_is_no_number_chooses_experts_that_there_are() -> None:
    logits = np.full((1, 4), np.nan, np.float32)
    buffers = np.full((1, 2), 99, np.int32), np.zeros((1, 2), np.float32)
    _, chosen, shares = call(route.define(RouteSpec(True, 4, 2)), logits, *buffers)
    assert ((chosen >= 0) & (chosen < 4)).all()
    assert np.isnan(shares).all()
