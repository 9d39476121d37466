"""The database of a folder: what a kill leaves of it, and several folders merged to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.compile.records import open_records

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.database import (
    RECORDS,
    WORKLOADS,
    load_measurements,
    merge_folders,
    open_database,
    valid_records,
)

Tuned = tuple[Path, list[int]]


def test_merging_adds_what_is_new(tuned: Tuned, tmp_path: Path) -> None:
    folder, _ = tuned
    count = len(list(valid_records(open_database(folder))))
    assert merge_folders(tmp_path / "all", [folder]) == count
    assert merge_folders(tmp_path / "all", [folder]) == 0
    assert open_records(tmp_path / "all").best == open_records(folder).best


def test_the_fastest_measurement_of_a_candidate_counts(tuned: Tuned) -> None:
    database = open_database(tuned[0])
    (times,) = load_measurements(database).values()
    for _, decisions, seconds in valid_records(database):
        assert times[tuple(sorted(decisions.items()))] <= seconds


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_an_unfinished_line_is_dropped(tuned: Tuned, tmp_path: Path, cut: int) -> None:
    folder, _ = tuned
    (tmp_path / WORKLOADS).write_bytes((folder / WORKLOADS).read_bytes())
    whole = (folder / RECORDS).read_bytes()
    (tmp_path / RECORDS).write_bytes(whole[:-cut])
    open_database(tmp_path)
    kept = (tmp_path / RECORDS).read_bytes()
    # Without the line's end alone the line is whole.
    lines = whole.splitlines(keepends=True)
    assert kept == b"".join(lines if cut == 1 else lines[:-1])
