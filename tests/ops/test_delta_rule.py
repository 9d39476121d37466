"""The plain definition of the gated delta rule against its oracle, and the oracle by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tests.schedules.delta_case import make
from tvm_c4n.ops import delta_rule
from tvm_c4n.ops.spec import DeltaSpec


@pytest.mark.parametrize(("key_heads", "tokens"), [(1, 1), (2, 5), (4, 3)])
def test_definition(key_heads: int, tokens: int) -> None:
    case = make(DeltaSpec(tokens > 1, 4, 3, key_heads, 5, 2, 1e-6), tokens)
    case.check(call(delta_rule.define(case.spec), *case.arguments))


def test_oracle_by_hand() -> None:
    """Two heads of one channel share queries and keys of two; the state of one is halved."""
    spec = DeltaSpec(False, 2, 1, 1, 2, 1, 7.0)
    q, k, v = [3.0, 0.0], [0.0, 3.0], [5.0, 6.0]  # lengths 4 with eps: 3/4 in each
    alpha, beta = np.array([[100.0, -100.0]]), np.array([[0.0, 100.0]])
    a, bias = np.array([-np.log(2) / 100, -1.0]), np.zeros(2)
    state = np.array([[[8.0], [4.0]], [[1.0], [2.0]]])
    y, h = delta_rule.oracle(spec, np.array([[*q, *k, *v]]), alpha, beta, a, bias, state)
    # Head 0: the state decays to 4 and 2; half of 5 - 3/4 * 2 is corrected. Head 1: all of it.
    first, second = 0.5 * (5 - 1.5), 6 - 1.5
    np.testing.assert_allclose(h[:, :, 0], [[4, 2 + 0.75 * first], [1, 2 + 0.75 * second]])
    np.testing.assert_allclose(y, [[0.75 * 4 / np.sqrt(2), 0.75 / np.sqrt(2)]])
