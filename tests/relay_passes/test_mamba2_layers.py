"""Layers of Mamba-2 through the whole pipeline: a step is one kernel, with the same numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import schedules
from relay_passes.pipeline import c4n_pipeline
from tests.relay_passes.small_mamba import machine
from tests.relay_passes.small_mamba2 import HIDDEN, SmallMamba2
from tvm_c4n._tvm import name_of, relax, tvm
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.spec import SsdSpec

CHOOSE = partial(schedules.choose, isa=PORTABLE)


@pytest.mark.parametrize(
    ("groups", "half"),
    [(2, True)]
    + [pytest.param(*case, marks=pytest.mark.slow) for case in ((1, False), (2, False))],
)
def test_steps_and_prefill(groups: int, half: bool) -> None:
    model = SmallMamba2.random(SsdSpec(False, 4, 8, 6, 3, groups, half=half))
    mod = c4n_pipeline(PORTABLE.lanes, CHOOSE, lift=False).until("lower")(model.module())
    relax.analysis.well_formed(mod)  # raises
    (layers,) = (f for g, f in mod.functions_items() if name_of(g) == "layers")
    # All layers have the code of one region.
    kinds = "rms_norm linear linear conv1d conv1d ssd_scan rms_norm linear"
    assert str(layers.attrs["c4n.region"]) == kinds

    x = np.random.default_rng(1).normal(size=(7, HIDDEN)).astype("f4")
    expected, vm = model.oracle(x), machine(mod)
    bound = 2e-3 if half else 2e-5

    def run(name: str, rows: np.ndarray, states: list[Any]) -> np.ndarray:
        return np.asarray(vm[name](tvm.runtime.tensor(rows), *states)[0].numpy())

    states = [tvm.runtime.tensor(s) for s in model.states()]
    found = [run("step", row[None], states)[0] for row in x]
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)
    # Prefill leaves the states that steps go on with.
    states = [tvm.runtime.tensor(s) for s in model.states()]
    found = [*run("prefill", x[:5], states), *(run("step", row[None], states)[0] for row in x[5:])]
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)
