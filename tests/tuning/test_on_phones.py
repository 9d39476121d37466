"""Tuning and the latency table over RPC, on emulated phones: the path is tested, not the speed."""

from __future__ import annotations

import json

import pytest

from tvm_c4n.compile.records import open_records
from tvm_c4n.pruning.allocation.latency import LatencyTable

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.comparison import Comparisons

pytestmark = [pytest.mark.phone, pytest.mark.slow]


def options(phone, folder, *more):
    tracker = f"127.0.0.1:{phone.tracker.port}"
    target = ["--target", "arm64-linux", "--tracker", tracker, "--emulated", "--samples", 1]
    return ["tune", *more, "--records", folder, *target]


@pytest.mark.timeout(2400)  # five minutes on two idle cores
def test_the_default_models_tasks_are_tuned_on_the_phone(call, phone, tmp_path):
    folder = tmp_path / "records"
    result = call(*options(phone, folder, "mamba-19m", "--no-confirm"), "--trials", 64)
    assert result.code == 0, result.err
    records = open_records(folder)
    assert records.manifest.emulated
    assert records.manifest.target.cpu == "cortex-a55"
    assert records.best
    # Prefill takes seconds a run here: to confirm it, again and again, would take a quarter of an
    # hour. The next test confirms, of a small model.
    assert all(best.seconds == best.default_seconds for best in records.best)
    lines = (folder / "database_tuning_record.json").read_text().splitlines()
    assert len(lines) == 64


def test_two_phones_share_the_work(call, two_phones, small_model, tmp_path):
    folder = tmp_path / "records"
    result = call(
        *options(two_phones, folder, small_model), "--trials", 24, "--devices", 2, "--batch", 8
    )
    assert result.code == 0, result.err
    assert len((folder / "database_tuning_record.json").read_text().splitlines()) == 24
    compared = list(Comparisons(folder))
    assert compared
    assert all(one.complete for one in compared)
    accepted = [one.candidate for one in compared if one.accepted]
    tuned = [b.decisions for b in open_records(folder).best if b.seconds < b.default_seconds]
    assert all(decisions in accepted for decisions in tuned)
    sessions = [two_phones.log(index).count("session done") for index in (0, 1)]
    assert sum(sessions) >= 24
    assert min(sessions) >= 6


def test_the_latency_table_of_the_phone_is_pruned_to(call, phone, small_model, words, tmp_path):
    folder = tmp_path / "r"
    result = call(*options(phone, folder, small_model), "--latency-table")
    assert result.code == 0, result.err
    content = json.loads((folder / "latency.json").read_text())
    assert content["emulated"] is True
    assert content["target"]["isa"] == "neon"
    shapes = {(r["rows"], r["cols"]) for r in content["rows"]}
    assert shapes == {(128, 32), (16, 64), (64, 8), (32, 64), (96, 32)}
    # Of the head each dtype alone, of the others n, too.
    assert len(content["rows"]) == 4 * 4 * 5 + 5
    for row in [*content["rows"], *content["rest"]]:
        for secs in (row["seconds"], row.get("prompt_seconds", row["seconds"])):
            assert 0 < secs["min"] <= secs["median"] <= secs["max"]
    with_prompts = {(r["rows"], r["cols"]) for r in content["rows"] if "prompt_seconds" in r}
    assert with_prompts == shapes - {(96, 32)}
    assert content["rest"][0]["layers"] == 2
    table = LatencyTable.read(folder)
    assert table.threads == 1

    # Between the fastest and the slowest that this model may become.
    shapes = [(128, 32), (16, 64), (64, 8), (32, 64)] * 2 + [(96, 32)]
    seconds = [
        [r.seconds.median for r in table.entries if (r.rows, r.cols) == shape] for shape in shapes
    ]
    wanted = table.rest[0].seconds.median + sum((min(s) + max(s)) / 2 for s in seconds)
    out = tmp_path / "out"
    args = ["prune", small_model, "-o", out, "--calibration", words, "--samples", "4"]
    result = call(*args, "--latency", f"{wanted * 1e6}us", "--latency-table", folder)
    assert result.code == 0, result.err
    chosen = json.loads((out / "allocation.json").read_text())["chosen"]
    assert 0 < chosen["cost"] <= wanted * (1 + 1e-9)
