"""Cores that other programs take are seen before a step runs into them."""

from __future__ import annotations

import os
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


@pytest.mark.skipif(not says_what_runs(), reason="the system does not say what runs")
def test_busy_programs_leave_no_room() -> None:
    cores = os.cpu_count() or 1
    command = [sys.executable, "-S", "-c", "while True: pass"]
    children = [subprocess.Popen(command) for _ in range(cores)]
    try:
        end = time.monotonic() + 20
        while contention.cores_available(cores) and time.monotonic() < end:
            time.sleep(0.01)
        assert not contention.cores_available(1)
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_system_that_says_nothing_has_room(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(contention, "_LOAD", tmp_path / "none")
    assert contention.cores_available(os.cpu_count() or 1)
    (tmp_path / "none").write_text("strange")
    assert contention.cores_available(os.cpu_count() or 1)
