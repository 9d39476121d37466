"""The plain definition of Mamba-2's scan against its oracle, and the oracle against scalars."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tests.schedules.ssd_case import make
from tvm_c4n.ops import ssd_scan
from tvm_c4n.ops.spec import SsdSpec


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("groups", "tokens"), [(1, 1), (2, 5), (4, 3)])
def test_definition(groups: int, tokens: int, half: bool) -> None:
    spec = SsdSpec(tokens > 1, 4, 3, 5, 2, groups, low=0.01, high=2.0, half=half)
    case = make(spec, tokens)
    found = call(ssd_scan.define(spec), *case.arguments)
    case.check(found)


def test_oracle_by_hand() -> None:
    """Two heads of one channel, two states; head 1 reads the second group's B and C."""
    spec = SsdSpec(False, 2, 1, 2, 1, groups=2, high=0.5)
    x, b, c = [2.0, 3.0], [[1.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [5.0, 1.0]]
    bc = np.array([[*b[0], *b[1], *c[0], *c[1]]])
    z, dt = np.array([[30.0, 30.0]]), np.array([[100.0, 0.0]])  # silu(30) is 30; delta at its limit
    a, bias, d = np.array([-2 * np.log(2), 0]), np.array([0, 100.0]), np.array([0, 10.0])
    state = np.array([[[8.0], [4.0]], [[1.0], [1.0]]])
    y, h = ssd_scan.oracle(spec, np.array([x]), bc, z, dt, a, bias, d, state)
    np.testing.assert_allclose(h[:, :, 0], [[4 + 1, 2], [1, 1 + 0.5 * 4 * 3]])
    np.testing.assert_allclose(y, [[30 * 7.0, 30 * (5 + 7 + 30.0)]])
