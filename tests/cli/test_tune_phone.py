"""Tuning and the latency table over RPC, on emulated phones: the path is tested, not the speed."""

from __future__ import annotations

import json
import time

import pytest

from tvm_c4n.compile.records import open_records
from tvm_c4n.errors import TuneError
from tvm_c4n.prune.latency import LatencyTable

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")
pytestmark = [pytest.mark.phone, pytest.mark.slow]


def options(phone, folder, *more):
    tracker = f"127.0.0.1:{phone.tracker.port}"
    target = ["--target", "arm64-linux", "--tracker", tracker, "--emulated", "--samples", 1]
    return ["tune", *more, "--records", folder, *target]


def test_the_default_models_tasks_are_tuned_on_the_phone(call, phone, tmp_path):
    folder = tmp_path / "records"
    result = call(*options(phone, folder, "mamba-19m"), "--trials", 64)
    assert result.code == 0, result.err
    records = open_records(folder)
    assert records.manifest.emulated
    assert records.manifest.target.cpu == "cortex-a76"
    assert records.best
    assert all(best.seconds <= best.default_seconds for best in records.best)
    lines = (folder / "database_tuning_record.json").read_text().splitlines()
    assert len(lines) == 64


def test_the_latency_table_of_the_phone(call, phone, small_model, tmp_path):
    folder = tmp_path / "r"
    result = call(*options(phone, folder, small_model), "--latency-table")
    assert result.code == 0, result.err
    content = json.loads((folder / "latency.json").read_text())
    assert content["emulated"] is True
    assert content["target"]["isa"] == "neon"
    shapes = {(r["rows"], r["cols"]) for r in content["rows"]}
    assert shapes == {(128, 32), (16, 64), (64, 8), (32, 64), (96, 32)}
    assert len(content["rows"]) == 5 * 4 * 3
    for row in [*content["rows"], *content["rest"]]:
        assert 0 < row["seconds"]["min"] <= row["seconds"]["median"] <= row["seconds"]["max"]
    assert content["rest"][0]["layers"] == 2
    assert LatencyTable.read(folder).threads == 1  # as `prune --latency` reads it


def test_without_a_phone_tuning_ends_with_the_reason(tmp_path, small_model):
    """Nobody offers the key: each candidate gives up, and after three batches so does tuning."""
    from tvm_c4n.runtime.rpc import RpcAddress
    from tvm_c4n.tuning.device import kill_workers, rpc_runner
    from tvm_c4n.tuning.run import tune

    runner = rpc_runner(
        RpcAddress("127.0.0.1", 1, "phone"), 1, wait_secs=2, session_secs=5, samples=1
    )
    began = time.monotonic()
    with pytest.raises(TuneError, match="no candidate of 3 batches ran"):
        tune(small_model, "arm64-linux", runner=runner, records=tmp_path / "r", batch=2)
    assert time.monotonic() - began < 120
    kill_workers(runner)
