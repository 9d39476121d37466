"""The plain definition of the norm over parts of a row against its oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import rms_norm_parts
from tvm_c4n.ops.spec import RmsNormPartsSpec


@pytest.mark.parametrize("tokens", [1, 3])
def test_definition(tokens: int) -> None:
    spec = RmsNormPartsSpec(tokens > 1, rank=5, state=3, eps=1e-2)
    x = np.random.default_rng(0).normal(size=(tokens, 11)).astype("f4")
    out = call(rms_norm_parts.define(spec), x, np.zeros((tokens, 11), "f4"))[-1]
    np.testing.assert_allclose(out, rms_norm_parts.oracle(x, spec), rtol=1e-5)


def test_each_part_has_a_mean_of_its_own() -> None:
    spec = RmsNormPartsSpec(False, rank=1, state=2, eps=0)
    found = rms_norm_parts.oracle(np.array([[-3.0, 2, 2, 0, 4]]), spec)
    np.testing.assert_allclose(found, [[-1, 1, 1, 0, 2**0.5]])
