"""The plain definition of the selective scan against its oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import selective_scan
from tvm_c4n.ops.spec import ScanSpec


@pytest.mark.parametrize("half", [False, True])
def test_definition(half: bool) -> None:
    rng = np.random.default_rng(0)
    dt, x = rng.normal(size=(2, 6, 5)).astype(np.float32)
    bc, xz = rng.normal(size=(6, 2 + 8)).astype("f4"), rng.normal(size=(6, 10)).astype("f4")
    a = -np.exp(rng.normal(size=(4, 5))).astype("f2" if half else "f4")
    d, state = rng.normal(size=5).astype("f4"), rng.normal(size=(2, 4, 5)).astype("f4")
    func = selective_scan.define(ScanSpec(True, 5, 4, 2, 2, half))
    stored = a.view("u2") if half else a
    found = call(func, dt, x, bc, xz, stored, d, state, 1, np.zeros((6, 5), "f4"))
    y, h = selective_scan.oracle(dt, x, bc[:, 2:6], bc[:, 6:], xz[:, 5:], a, d, state[1])
    np.testing.assert_allclose(found[-1], y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[6][1], h, rtol=1e-4, atol=1e-5)
