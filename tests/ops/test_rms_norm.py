"""The plain definition of RMSNorm against its oracle."""

from __future__ import annotations

import numpy as np

from tests.ops.compiled import call
from tvm_c4n.ops import rms_norm
from tvm_c4n.ops.spec import RmsNormSpec


def test_definition() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(3, 12)).astype("f4"), rng.normal(size=12).astype("f4")
    out = call(rms_norm.define(RmsNormSpec(True, 12, 1e-5)), x, weight, np.zeros((3, 12), "f4"))
    np.testing.assert_allclose(out[-1], rms_norm.oracle(x, weight, 1e-5), rtol=1e-5)


def test_only_the_last_token() -> None:
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(3, 12)).astype("f4"), rng.normal(size=12).astype("f4")
    func = rms_norm.define(RmsNormSpec(True, 12, 1e-5, last=True))
    out = call(func, x, weight, np.zeros((1, 12), "f4"))
    np.testing.assert_allclose(out[-1], rms_norm.oracle(x[2:], weight, 1e-5), rtol=1e-5)


def test_groups_have_means_of_their_own() -> None:
    x, weight = np.array([[3.0, -3, 1, 7]], "f4"), np.array([1.0, 2, 1, 1], "f4")
    func = rms_norm.define(RmsNormSpec(False, 4, 0.0, groups=2))
    out = call(func, x, weight, np.zeros((1, 4), "f4"))[-1]
    np.testing.assert_allclose(out, [[1, -2, 0.2, 1.4]], rtol=1e-6)
    np.testing.assert_allclose(rms_norm.oracle(x, weight, 0, 2), out, rtol=1e-6)


def test_gaps_behind_groups_are_not_read() -> None:
    x, weight = np.array([[3.0, -3, np.nan, 1, 7, np.nan]], "f4"), np.array([1.0, 2, 1, 1], "f4")
    func = rms_norm.define(RmsNormSpec(False, 4, 0.0, groups=2, gap=1))
    out = call(func, x, weight, np.zeros((1, 4), "f4"))[-1]
    np.testing.assert_allclose(out, [[1, -2, 0.2, 1.4]], rtol=1e-6)
