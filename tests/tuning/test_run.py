"""`tune`: the search, its resumption, and what becomes a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import schedules
from tvm_c4n._tvm import IRModule
from tvm_c4n.compile.records import (
    BEST,
    Best,
    RecordsManifest,
    machine_of,
    open_records,
    write_manifest,
)
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ConvSpec

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tests.tuning.fake_device import FakeDevice
from tvm_c4n.tuning.comparison import PAIRS_PER_SESSION, SESSIONS, Comparisons
from tvm_c4n.tuning.database import Database, valid_records
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.run import MAX_DEAD_BATCHES, Tuner, tune
from tvm_c4n.tuning.tasks import Task

ALL = SESSIONS * PAIRS_PER_SESSION
TARGET = resolve_target("host")
SPEC = ConvSpec(True, 768, 4, 2, 1536)
WIDER = replace(SPEC, channels=1536, input_width=3072)
Times = Callable[[int, int], float | None]


def task_of(spec: ConvSpec) -> Task:
    return Task(spec, 1, schedules.space_of(spec, isa_of(TARGET)))


# How many vectors of channels the convolution carries together: the default, and another choice.
DEFAULT = task_of(SPEC).space["vectors"][0]
FAST, SLOW = [v for v in (1, 2, 4) if v != DEFAULT]


def tuner_of(device: FakeDevice, folder: Path, *specs: ConvSpec, **options: Any) -> Tuner:
    manifest = RecordsManifest(target=machine_of(TARGET), threads=1, emulated=False)
    write_manifest(folder, manifest)
    tasks = [task_of(spec) for spec in specs or (SPEC,)]
    return Tuner(device, folder, tasks, **options)  # type: ignore[arg-type]


def tuned_by(times: Times, folder: Path, **options: Any) -> tuple[Best, FakeDevice]:
    """Tune a convolution with times by vectors and how often they were timed before."""
    device = FakeDevice(lambda _, decisions, before: times(decisions["vectors"], before))
    tuner = tuner_of(device, folder, **options)
    tuner.search(99, 8)
    (best,) = tuner.confirm()
    return best, device


def fast_is_faster(vectors: int, _before: int) -> float:
    return 0.8 if vectors == FAST else 1.0


def test_a_lucky_single_measurement_is_rejected(tmp_path: Path) -> None:
    def times(vectors: int, before: int) -> float:
        return 0.5 if vectors == FAST and not before else 1.0

    best, _ = tuned_by(times, tmp_path)
    assert best.decisions == {"vectors": DEFAULT}
    (kept,) = Comparisons(tmp_path)
    assert (kept.candidate, kept.rejected) == ({"vectors": FAST}, True)
    assert open_records(tmp_path).best == [best]
    # The same command again has nothing left to measure.
    again, device = tuned_by(times, tmp_path)
    assert (again, device.log) == (best, [])


def test_the_second_best_is_compared_too(tmp_path: Path) -> None:
    def times(vectors: int, before: int) -> float:
        return {SLOW: 2.0 if before else 0.5, FAST: 0.8}.get(vectors, 1.0)

    best, _ = tuned_by(times, tmp_path)
    assert best.decisions == {"vectors": FAST}
    assert (best.seconds, best.default_seconds) == (0.8, 1.0)


def test_the_second_sessions_come_after_all_first_ones(tmp_path: Path) -> None:
    defaults = {task_of(spec).space["vectors"][0] for spec in (SPEC, WIDER)}
    fast = next(v for v in (1, 2, 4, 8) if v not in defaults)
    device = FakeDevice(lambda _, decisions, __: 0.8 if decisions["vectors"] == fast else 1.0)
    tuner = tuner_of(device, tmp_path, SPEC, WIDER)
    tuner.search(99, 8)
    assert len(tuner.confirm()) == 2
    session = [SPEC] * 2 * PAIRS_PER_SESSION + [WIDER] * 2 * PAIRS_PER_SESSION
    assert [spec for spec, _ in device.log[-len(session) * SESSIONS :]] == session * SESSIONS


def test_a_comparison_resumes_where_it_was_interrupted(tmp_path: Path) -> None:
    told = []

    def progress(what: str, done: int, total: int) -> None:
        if "the best against the default" in what:
            told.append((done, total))
        if told and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned_by(fast_is_faster, tmp_path, progress=progress)
    assert told == [(pair, PAIRS_PER_SESSION) for pair in range(6)]
    assert open_records(tmp_path).best[0].decisions == {"vectors": DEFAULT}
    best, device = tuned_by(fast_is_faster, tmp_path)
    assert best.decisions == {"vectors": FAST}
    assert len(device.log) == 2 * (ALL - 5)


def test_what_was_not_compared_waits_for_a_run_that_compares(tmp_path: Path) -> None:
    device = FakeDevice(lambda _, decisions, before: fast_is_faster(decisions["vectors"], before))
    tuner = tuner_of(device, tmp_path)
    tuner.search(99, 8)
    assert [best.decisions for best in tuner.write_best()] == [{"vectors": DEFAULT}]
    best, device = tuned_by(fast_is_faster, tmp_path)
    assert best.decisions == {"vectors": FAST}
    assert len(device.log) == 2 * ALL


def test_a_device_that_is_gone_ends_it_with_a_reason(tmp_path: Path) -> None:
    def times(vectors: int, before: int) -> float | None:
        return None if before else fast_is_faster(vectors, before)

    with pytest.raises(DeviceError, match="default does not run any more \\(unplugged\\)"):
        tuned_by(times, tmp_path)
    best, _ = tuned_by(fast_is_faster, tmp_path)
    assert best.decisions == {"vectors": FAST}


def test_a_device_that_runs_nothing_ends_it_with_a_reason(tmp_path: Path) -> None:
    told: list[str] = []
    device = FakeDevice(lambda *_: None)
    tuner = tuner_of(device, tmp_path, progress=lambda what, *_: told.append(what))
    with pytest.raises(
        DeviceError, match=f"no candidate of {MAX_DEAD_BATCHES} batches ran .unplugged"
    ):
        tuner.search(99, 1)
    assert "nothing ran yet; 3 failed: unplugged" in told[-1]


class Unplugged:
    """A runner that runs nothing at first; later, each candidate takes longer than the last."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, inputs: list[Any]) -> list[Any]:
        self.calls += len(inputs)
        failing = self.calls <= 4  # the first batch, with the default in it
        seconds = None if failing else [1.0 + self.calls]
        result = ms.runner.RunnerResult(seconds, "unplugged" if failing else None)
        return [SimpleNamespace(done=lambda: True, result=lambda: result)] * len(inputs)


def test_what_did_not_run_is_tried_once_more(sparse_layer: IRModule, tmp_path: Path) -> None:
    folder, told = tmp_path / "records", []

    def progress(what: str, done: int, _total: int) -> None:
        if "against" not in what:
            told.append((what, done))
        assert (folder / BEST).is_file()

    (best,) = tune(
        sparse_layer,
        runner=Unplugged(),
        records=folder,
        trials=1000,
        batch=4,
        cold_bytes=0,
        progress=progress,
    )
    records = list(valid_records(Database(folder)))
    (spec,) = {spec for spec, _, _ in records}
    space = schedules.space_of(spec, isa_of(TARGET))
    everything = np.prod([len(choices) for choices in space.values()])
    assert len(records) == everything
    what, trials = told[-1]
    assert what.endswith("; 4 failed: unplugged")
    assert trials == everything + 4
    # The default failed at first; the next batch began with it.
    assert best.default_seconds == 1.0 + 5


@pytest.mark.parametrize("options", [{"trials": 0}, {"batch": 0}])
def test_nothing_to_do_is_refused(
    sparse_layer: IRModule, tmp_path: Path, options: dict[str, int]
) -> None:
    with pytest.raises(TuneError, match="both must be 1 or more"):
        tune(sparse_layer, runner=Unplugged(), records=tmp_path, **options)


def test_a_module_without_decisions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="nothing to tune"):
        tune(IRModule({}), runner=Unplugged(), records=tmp_path)
