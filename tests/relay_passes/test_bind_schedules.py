"""BindSchedules: which bodies are replaced, and how often."""

from __future__ import annotations

import numpy as np

from relay_passes import BindSchedules, RepackWeights
from tests.relay_passes.c4n_layer import CHOOSE, layer, linear_of, run, weight_of
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.spec import spec_of


def test_binding_replaces_bodies_once_and_keeps_the_numbers() -> None:
    packed = RepackWeights(PORTABLE.lanes)(layer(weight_of("int8")))
    bound = BindSchedules(CHOOSE)(packed)
    assert str(linear_of(bound).attrs["c4n.schedule"]) == "c4n_gemv"
    assert spec_of(linear_of(bound)) == spec_of(linear_of(packed))
    relax.analysis.well_formed(bound)  # raises
    tvm.ir.assert_structural_equal(BindSchedules(CHOOSE)(bound), bound)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    np.testing.assert_allclose(run(bound, x), run(packed, x), rtol=1e-5, atol=1e-5)


def test_a_rule_that_does_not_apply_leaves_the_definition() -> None:
    raw = layer(weight_of("int8"))  # no rule reads the checkpoint's form
    bound = BindSchedules(CHOOSE)(raw)
    assert "c4n.schedule" not in linear_of(bound).attrs
