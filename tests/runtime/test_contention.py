"""Cores that other programs take are seen before a step runs into them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tvm_c4n.runtime import contention


def says_what_runs() -> bool:
    """Whether the system counts at least this process; sandboxes may show zeros."""
    try:
        return not Path("/proc/loadavg").read_text().split()[3].startswith("0/")
    except (OSError, IndexError):
        return False


@pytest.mark.slow  # keeps every core busy for a while
@pytest.mark.skipif(not says_what_runs(), reason="the system does not say what runs")
def test_busy_programs_take_the_cores() -> None:
    cores = os.cpu_count() or 1
    command = [sys.executable, "-S", "-c", "while True: pass"]
    children = [subprocess.Popen(command) for _ in range(cores)]
    try:
        end = time.monotonic() + 200
        while contention.cores_available(1):
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        for child in children:
            child.kill()
            child.wait()


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a system of 4 cores says: 3 threads run, one of them, and a sleeping one, are ours."""
    (tmp_path / "loadavg").write_text("1.52 0.98 0.44 3/217 4711\n")
    for thread, status in (("17", "R"), ("18", "S")):
        (tmp_path / "task" / thread).mkdir(parents=True)
        (tmp_path / "task" / thread / "stat").write_text(f"{thread} (a (b) R) {status} 1 17\n")
    monkeypatch.setattr(contention, "_LOAD", tmp_path / "loadavg")
    monkeypatch.setattr(contention, "_TASKS", tmp_path / "task")
    monkeypatch.setattr(contention.os, "cpu_count", lambda: 4)
    return tmp_path


def test_other_programs_cores_are_not_available(system: Path) -> None:
    assert contention.cores_available(2)
    assert not contention.cores_available(3)


def test_own_threads_that_run_are_not_others(system: Path) -> None:
    (system / "task" / "18" / "stat").write_text("18 (python) R 1 17\n")
    assert contention.cores_available(3)
    assert not contention.cores_available(4)


def test_one_reading_with_free_cores_is_enough(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = iter([4, 4, 0])
    monkeypatch.setattr(contention, "_running_elsewhere", lambda: next(elsewhere))
    assert contention.cores_available(4)
    elsewhere = iter([1, 1, 1, 0])
    assert not contention.cores_available(4)


@pytest.mark.parametrize("text", [None, "", "strange", "0 0 0 many/5 1"])
def test_a_system_that_says_nothing_has_cores(system: Path, text: str | None) -> None:
    (system / "loadavg").unlink()
    if text is not None:
        (system / "loadavg").write_text(text)
    assert contention.cores_available(4)


def test_own_work_is_no_contention(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 13.0])
    monkeypatch.setattr(contention, "busy_secs", lambda: next(ticks))
    own = iter([1.0, 2.0])
    monkeypatch.setattr(contention, "own_secs", lambda: next(own))
    clock = iter([100.0, 104.0])
    monkeypatch.setattr(contention.time, "monotonic", lambda: next(clock))
    with contention.CpuContention() as others:
        pass
    assert others.cores == 0.5  # of 3 busy seconds 1 was ours, over 4 seconds


def test_a_system_that_does_not_say_has_no_contention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "_STAT", Path("/no/such/file"))
    with contention.CpuContention() as others:
        pass
    assert others.cores == 0.0


def test_what_this_process_started_is_no_contention_where_it_measures() -> None:
    """A worker's child too; `own_secs` sees neither while they run."""
    spin = f"import subprocess as s, sys; s.run([sys.executable, '-S', '-c', {'while 1: pass'!r}])"
    before = contention.secs_with_workers() - contention.own_secs()
    with subprocess.Popen([sys.executable, "-S", "-c", spin], start_new_session=True) as worker:
        try:
            end = time.monotonic() + 200
            while contention.secs_with_workers() - contention.own_secs() < before + 0.2:
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
