"""Our operators in MetaSchedule's terms: workloads, traces and features."""

from __future__ import annotations

import pytest

import schedules
from tvm_c4n._tvm import tvm
from tvm_c4n.ops.isa import NEON
from tvm_c4n.ops.spec import ConvSpec, LinearSpec, OpSpec, ScanSpec, SsdSpec

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.metaschedule import (
    candidates,
    decisions_of,
    features,
    spec_of_workload,
    workload,
)

SPECS: tuple[OpSpec, ...] = (
    LinearSpec(False, 64, 128, 2, "int4", 64, 4, 128, False, True),
    ConvSpec(True, 64, 4, 2, 128),
    ScanSpec(True, 64, 4, 2, 8),
    SsdSpec(True, 2, 32, 16, 2),
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_workload_tells_its_operator(spec: OpSpec) -> None:
    assert spec_of_workload(workload(spec)) == spec


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_traces_replay_their_decisions(spec: OpSpec) -> None:
    mod, space = workload(spec), schedules.space_of(spec, NEON)
    found = candidates(mod, space)
    assert found[0][0] == {name: choices[0] for name, choices in space.items()}
    assert len(found) > 1
    for decisions, schedule in found:
        replayed = tvm.s_tir.Schedule(mod)
        schedule.trace.apply_to_schedule(replayed, remove_postproc=False)
        assert decisions_of(replayed) == decisions


def test_features_tell_candidates_and_operators_apart() -> None:
    rows = [
        features(spec, decisions)
        for spec in SPECS
        for decisions, _ in candidates(workload(spec), schedules.space_of(spec, NEON))
    ]
    assert {row.shape for row in rows} == {rows[0].shape}
    assert len({row.tobytes() for row in rows}) == len(rows)
