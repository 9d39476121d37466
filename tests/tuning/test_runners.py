"""Runners: a kernel or a device that hangs costs the candidate, nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tvm_c4n._tvm import IRBuilder, IRModule, T
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import DeviceError
from tvm_c4n.runtime.device.rpc import RpcAddress

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.harness import Argument, Harness
from tvm_c4n.tuning.run import tune
from tvm_c4n.tuning.runners import kill_workers, local_runner, rpc_runner

pytestmark = pytest.mark.slow


def counting(name: str, turns: int) -> Any:
    """A function that takes one float and some time."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"global_symbol": name})
        total = T.arg("total", T.buffer((1,), "float32"))
        with T.serial(T.int64(turns)):
            T.buffer_store(total, total[0] * T.float32(0.5) + T.float32(1), [0])
    return builder.get()


def candidate(folder: Path, turns: int, target: str = "arm64-linux") -> Any:
    """A library whose kernel counts to a number, as a runner takes it."""
    mod = IRModule({"main": counting("main", turns), "fill": counting("fill", 1)})
    harness = Harness(mod, [Argument((1,), "float32")], 1)
    return harness.compile(resolve_target(target), folder / f"turns{turns}.so")


FOR_EVER = 2**60
# Ends a test that hangs; a busy machine takes many times as long as an idle one.
LIMIT_SECS = 200
# What a good candidate has, however busy the machine is; a hung one takes all of it.
SESSION_SECS = 20


def results(runner: Any, inputs: list[Any]) -> list[Any]:
    """What a runner makes of candidates, in time."""
    futures = runner.run(inputs)
    end = time.monotonic() + LIMIT_SECS
    while not all(future.done() for future in futures):
        assert time.monotonic() < end, "the runner hangs"
        time.sleep(0.05)
    return [future.result() for future in futures]


@pytest.mark.phone
def test_a_kernel_that_hangs_on_the_phone_is_ended(phone: Any, tmp_path: Path) -> None:

    address = RpcAddress("127.0.0.1", phone.tracker.port, "phone")
    runner = rpc_runner(address, 1, wait_secs=LIMIT_SECS, session_secs=SESSION_SECS, samples=1)
    hung, good = candidate(tmp_path, FOR_EVER), candidate(tmp_path, 8)
    first, second = results(runner, [hung, good])
    kill_workers(runner)
    assert not first.run_secs
    assert f"killed after {SESSION_SECS} seconds" in str(first.error_msg)
    assert "session timed out" in phone.log()
    assert second.run_secs[0] > 0


def test_a_kernel_that_hangs_here_is_ended(tmp_path: Path) -> None:

    runner = local_runner(1, timeout_secs=60, samples=1, min_repeat_ms=0)
    hung, good = candidate(tmp_path, FOR_EVER, "host"), candidate(tmp_path, 8, "host")
    first, second = results(runner, [hung, good])
    kill_workers(runner)
    assert not first.run_secs
    assert "Timeout" in str(first.error_msg)
    assert second.run_secs[0] > 0


@pytest.mark.phone
def test_a_frozen_phone_costs_the_candidate(own_phone: Any, tmp_path: Path) -> None:
    """It closes no connection, so that nobody would ever be told."""

    address = RpcAddress("127.0.0.1", own_phone.tracker.port, "phone")
    runner = rpc_runner(address, 1, wait_secs=LIMIT_SECS, session_secs=SESSION_SECS, samples=1)
    good = candidate(tmp_path, 8)
    (warm,) = results(runner, [good])
    assert warm.run_secs[0] > 0
    (future,) = runner.run([candidate(tmp_path, FOR_EVER)])
    time.sleep(2)
    os.killpg(own_phone.server.pid, signal.SIGSTOP)
    end = time.monotonic() + LIMIT_SECS
    while not future.done():
        assert time.monotonic() < end, "the runner hangs"
        time.sleep(0.05)
    assert not future.result().run_secs
    os.killpg(own_phone.server.pid, signal.SIGCONT)
    (again,) = results(runner, [good])
    kill_workers(runner)
    assert again.run_secs[0] > 0


def test_without_a_phone_tuning_ends_with_the_reason(tmp_path: Path, small_model: Path) -> None:
    """Nobody offers the key: each candidate gives up, and after three batches so does tuning."""

    runner = rpc_runner(
        RpcAddress("127.0.0.1", 1, "phone"), 1, wait_secs=2, session_secs=5, samples=1
    )
    with pytest.raises(DeviceError, match="no candidate of 3 batches ran"):
        tune(small_model, "arm64-linux", runner=runner, records=tmp_path / "r", batch=2)
    kill_workers(runner)
