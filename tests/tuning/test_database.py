"""The database of a folder that was tuned and cut off: what it holds, and several made one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import schedules
from tvm_c4n._tvm import tvm
from tvm_c4n.compile.records import open_records
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import isa_of

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tests.tuning.conftest import Tuned
from tvm_c4n.tuning.comparison import Comparisons
from tvm_c4n.tuning.database import (
    RECORDS,
    WORKLOADS,
    Database,
    load_measurements,
    merge_folders,
    valid_records,
)
from tvm_c4n.tuning.metaschedule import decisions_of, ms, spec_of_workload


def test_merging_adds_what_is_new(tuned: Tuned, tmp_path: Path) -> None:
    folder, _ = tuned
    count = len(list(valid_records(Database(folder))))
    assert merge_folders(tmp_path / "all", [folder]) == count
    assert merge_folders(tmp_path / "all", [folder]) == 0
    assert open_records(tmp_path / "all").best == open_records(folder).best


def test_the_fastest_measurement_of_a_candidate_counts(tuned: Tuned) -> None:
    database = Database(tuned[0])
    (times,) = load_measurements(database).values()
    for _, decisions, seconds in valid_records(database):
        assert times[tuple(sorted(decisions.items()))] <= seconds


def test_metaschedule_reads_what_is_written(tuned: Tuned) -> None:
    folder, _ = tuned
    database = ms.database.JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS))
    written = {found.run_secs: found for found in Database(folder).measurements}
    assert len(database) == len(written) > 1
    for record in database.get_all_tuning_records():
        found = written[tuple(float(s) for s in record.run_secs)]
        assert spec_of_workload(record.workload.mod) == found.spec
        schedule = tvm.s_tir.Schedule(record.workload.mod)
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
        assert decisions_of(schedule) == found.decisions


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        (RECORDS, "[", "line 1: JSON is nested too deeply"),
        (RECORDS, "null", "line 1: no measurement of a workload"),
        (RECORDS, "[99, [[[], []], [1.0], {}, []]]", "line 1: no measurement of a workload"),
        (RECORDS, "[0, [[[], [7]], [1.0], {}, []]]", "line 1: no decisions of a C4n schedule"),
        (RECORDS, "[0, [[[], []], [-1.0], {}, []]]", "line 1: the times are no positive numbers"),
        (WORKLOADS, '["1", "AAAAAAAAAAA="]', "line 1: no workload of a C4n operator"),
        (WORKLOADS, '["1", 7]', "line 1: no workload of a C4n operator"),
    ],
)
def test_a_line_that_tuning_never_wrote_is_refused(
    tuned: Tuned, tmp_path: Path, name: str, line: str, said: str
) -> None:
    """MetaSchedule's own reader dies of some of them."""
    if line == "[":
        line = "[" * 100_000 + "]" * 100_000
    for file in (WORKLOADS, RECORDS):
        first = line + "\n" if file == name else ""
        (tmp_path / file).write_text(first + (tuned[0] / file).read_text())
    with pytest.raises(TuneError, match=rf"{name}: {re.escape(said)}.*; delete the folder"):
        Database(tmp_path)


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_an_unfinished_line_is_dropped(tuned: Tuned, tmp_path: Path, cut: int) -> None:
    folder, _ = tuned
    (tmp_path / WORKLOADS).write_bytes((folder / WORKLOADS).read_bytes())
    whole = (folder / RECORDS).read_bytes()
    (tmp_path / RECORDS).write_bytes(whole[:-cut])
    Database(tmp_path)
    kept = (tmp_path / RECORDS).read_bytes()
    # Without the line's end alone the line is whole.
    lines = whole.splitlines(keepends=True)
    assert kept == b"".join(lines if cut == 1 else lines[:-1])


def test_a_run_resumes_and_times_each_candidate_once(tuned: Tuned) -> None:
    check_resumed(tuned, 3 + 8)


@pytest.mark.slow
def test_the_whole_space_is_measured(wholly_tuned: Tuned) -> None:
    (spec,) = {spec for spec, _, _ in valid_records(Database(wholly_tuned[0]))}
    space = schedules.space_of(spec, isa_of(resolve_target("host")))
    check_resumed(wholly_tuned, int(np.prod([len(choices) for choices in space.values()])))


def check_resumed(tuned: Tuned, count: int) -> None:
    """The record that was cut was measured again, the other three of the first run were not."""
    folder, told = tuned
    records = list(valid_records(Database(folder)))
    assert len(records) == count
    assert len({tuple(decisions.items()) for _, decisions, _ in records}) == count
    assert told[:2] == [0, 4]
    assert told[-1] == count - 3


@pytest.mark.slow
def test_the_best_was_accepted_or_is_the_default(wholly_tuned: Tuned) -> None:
    folder, _ = wholly_tuned
    (best,) = open_records(folder).best
    compared = list(Comparisons(folder))  # none where no candidate was faster the first time
    assert all(one.complete for one in compared)
    accepted = [one.candidate for one in compared if one.accepted]
    if accepted:
        assert accepted == [best.decisions]
        assert best.seconds < best.default_seconds
    else:
        assert best.seconds == best.default_seconds
