"""RepackWeights: constants change their form, numbers stay."""

from __future__ import annotations

import numpy as np
import pytest

from relay_passes import RepackWeights
from tests.relay_passes.c4n_layer import constants_of, layer, linear_of, run, weight_of
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import spec_of


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
def test_packing_changes_the_constants_and_not_the_numbers(dtype: str) -> None:
    weight, before = weight_of(dtype), layer(weight_of(dtype))
    after = RepackWeights(8)(before)
    spec = spec_of(linear_of(after))
    assert spec.lanes == 8
    for found, expected in zip(constants_of(after, "main"), [repack(weight, spec)], strict=True):
        np.testing.assert_array_equal(found, expected)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(RepackWeights(8)(after), after)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-6)
