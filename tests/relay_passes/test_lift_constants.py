"""LiftConstants: functions share the parameters that constants become."""

from __future__ import annotations

import numpy as np

from relay_passes import LiftConstants, RepackWeights
from tests.relay_passes.c4n_layer import constants_of, layer, run, weight_of
from tvm_c4n._tvm import Target, relax, tvm
from tvm_c4n.ops.attrs import CONSTANTS


def test_lifting_shares_parameters_between_functions() -> None:
    before = RepackWeights(4)(layer(weight_of("int8"), ("first", "second")))
    after = LiftConstants()(before)
    constants = [c.numpy() for c in after.attrs[CONSTANTS]]
    assert len(constants) == 1  # the packed weight, once for both functions
    for name in ("first", "second"):
        assert constants_of(after, name) == []
        assert len(after[name].params) == 1 + len(constants)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(LiftConstants()(after), after)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    vm = relax.VirtualMachine(
        relax.build(after.without_attr(CONSTANTS), Target({"kind": "llvm"})), tvm.cpu()
    )
    weights = [tvm.runtime.tensor(c) for c in constants]
    found = vm["second"](tvm.runtime.tensor(x), *weights).numpy()
    np.testing.assert_allclose(found, run(layer(weight_of("int8")), x), rtol=1e-5, atol=1e-5)
