"""Tuning and the latency table over RPC, on emulated phones: the path is tested, not the speed."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tvm_c4n._tvm import IRBuilder, IRModule, T
from tvm_c4n.compile.records import CONFIRMATIONS, open_records
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.pruning.allocation.latency import LatencyTable
from tvm_c4n.runtime.device.rpc import RpcAddress
from tvm_c4n.tuning.duels import Duel

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")
pytestmark = [pytest.mark.phone, pytest.mark.slow]


def options(phone, folder, *more):
    tracker = f"127.0.0.1:{phone.tracker.port}"
    target = ["--target", "arm64-linux", "--tracker", tracker, "--emulated", "--samples", 1]
    return ["tune", *more, "--records", folder, *target]


@pytest.mark.timeout(900)  # four to six minutes on two cores, busy ones among them
def test_the_default_models_tasks_are_tuned_on_the_phone(call, phone, tmp_path):
    folder = tmp_path / "records"
    result = call(*options(phone, folder, "mamba-19m", "--no-confirm"), "--trials", 64)
    assert result.code == 0, result.err
    records = open_records(folder)
    assert records.manifest.emulated
    assert records.manifest.target.cpu == "cortex-a76"
    assert records.best
    # Prefill takes seconds a run here: to confirm it, again and again, would take a quarter of an
    # hour. The next test confirms, of a small model.
    assert all(best.seconds == best.default_seconds for best in records.best)
    lines = (folder / "database_tuning_record.json").read_text().splitlines()
    assert len(lines) == 64


def test_two_phones_share_the_work(call, two_phones, small_model, tmp_path):
    folder = tmp_path / "records"
    result = call(
        *options(two_phones, folder, small_model), "--trials", 24, "--phones", 2, "--batch", 8
    )
    assert result.code == 0, result.err
    assert len((folder / "database_tuning_record.json").read_text().splitlines()) == 24
    content = json.loads((folder / CONFIRMATIONS).read_text())
    duels = [Duel(**duel) for duel in content["duels"]]
    assert duels
    assert all(duel.complete for duel in duels)
    won = [duel.decisions for duel in duels if duel.won]
    tuned = [b.decisions for b in open_records(folder).best if b.seconds < b.default_seconds]
    assert all(decisions in won for decisions in tuned)
    sessions = [two_phones.log(index).count("session done") for index in (0, 1)]
    assert sum(sessions) >= 24
    assert min(sessions) >= 6


def counting(name, turns):
    """A function that takes one float and some time."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"global_symbol": name})
        total = T.arg("total", T.buffer((1,), "float32"))
        with T.serial(T.int64(turns)):
            T.buffer_store(total, total[0] * T.float32(0.5) + T.float32(1), [0])
    return builder.get()


def candidate(folder, turns, target="arm64-linux"):
    """A library whose kernel counts to a number, as a runner takes it."""
    from tvm_c4n.tuning.measure import Argument, args_info, compile_measured
    from tvm_c4n.tuning.metaschedule import ms

    out = folder / f"turns{turns}.so"
    mod = IRModule({"main": counting("main", turns), "fill": counting("fill", 1)})
    compile_measured(mod, resolve_target(target), out)
    return ms.runner.RunnerInput(str(out), "cpu", args_info([Argument((1,), "float32")]))


FOR_EVER = 2**60


def results(runner, inputs, within_secs):
    """What a runner makes of candidates, in time."""
    futures = runner.run(inputs)
    end = time.monotonic() + within_secs
    while not all(future.done() for future in futures):
        assert time.monotonic() < end, "the runner hangs"
        time.sleep(0.05)
    return [future.result() for future in futures]


def test_a_kernel_that_hangs_on_the_phone_is_ended(phone, tmp_path):
    from tvm_c4n.tuning.device import kill_workers, rpc_runner

    address = RpcAddress("127.0.0.1", phone.tracker.port, "phone")
    runner = rpc_runner(address, 1, wait_secs=30, session_secs=5, samples=1)
    hung, good = candidate(tmp_path, FOR_EVER), candidate(tmp_path, 8)
    first, second = results(runner, [hung, good], within_secs=60)
    kill_workers(runner)
    assert not first.run_secs
    assert "killed after 5 seconds" in str(first.error_msg)
    assert "session timed out" in phone.log()
    assert second.run_secs[0] > 0


def test_a_kernel_that_hangs_here_is_ended(tmp_path):
    from tvm_c4n.tuning.device import kill_workers, local_runner

    runner = local_runner(1, timeout_secs=30, samples=1, min_repeat_ms=0)
    hung, good = candidate(tmp_path, FOR_EVER, "host"), candidate(tmp_path, 8, "host")
    first, second = results(runner, [hung, good], within_secs=120)
    kill_workers(runner)
    assert not first.run_secs
    assert "Timeout" in str(first.error_msg)
    assert second.run_secs[0] > 0


def test_a_frozen_phone_costs_the_candidate(own_phone, tmp_path):
    """It closes no connection, so that nobody would ever be told."""
    from tvm_c4n.tuning.device import kill_workers, rpc_runner
    from tvm_c4n.tuning.worker import GRACE_SECS

    address = RpcAddress("127.0.0.1", own_phone.tracker.port, "phone")
    runner = rpc_runner(address, 1, wait_secs=30, session_secs=5, samples=1)
    good = candidate(tmp_path, 8)
    (warm,) = results(runner, [good], within_secs=60)
    assert warm.run_secs[0] > 0
    (future,) = runner.run([candidate(tmp_path, FOR_EVER)])
    time.sleep(2)
    os.killpg(own_phone.server.pid, signal.SIGSTOP)
    began = time.monotonic()
    while not future.done() and time.monotonic() < began + 60:
        time.sleep(0.05)
    assert future.done()
    assert time.monotonic() - began < 5 + GRACE_SECS + 5
    assert not future.result().run_secs
    os.killpg(own_phone.server.pid, signal.SIGCONT)
    (again,) = results(runner, [good], within_secs=60)
    kill_workers(runner)
    assert again.run_secs[0] > 0


def test_the_latency_table_of_the_phone_is_pruned_to(call, phone, small_model, words, tmp_path):
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


def test_without_a_phone_tuning_ends_with_the_reason(tmp_path, small_model):
    """Nobody offers the key: each candidate gives up, and after three batches so does tuning."""
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
