"""Kernels of a latency table: what is built and timed, and what is noted of other programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tests.tuning.fake_device import FakeDevice
from tvm_c4n.ops.spec import OpSpec, QuantizeSpec
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.runtime.contention import BUSY_CORES
from tvm_c4n.tuning.kernel_times import KernelTimer, Watch, seconds_of

SPECS: list[OpSpec] = [QuantizeSpec(False, cols, 64, cols, cols) for cols in (64, 128)]


@pytest.fixture
def busy() -> Iterator[None]:
    """A program that keeps a core and that this process did not start: its parent has ended."""
    spin = [sys.executable, "-S", "-c", "while True: pass"]
    start = f"import subprocess as s; print(s.Popen({spin!r}, stdout=s.DEVNULL).pid)"
    number = int(subprocess.check_output([sys.executable, "-c", start]))
    yield
    os.kill(number, signal.SIGKILL)


@pytest.mark.usefixtures("busy")
def test_a_busy_program_is_noted() -> None:
    watch = Watch(local=True)
    assert watch(lambda: time.sleep(1) or "measured") == "measured"
    assert watch.cores is not None
    most = watch.cores
    assert most >= BUSY_CORES
    watch(lambda: None)
    assert watch.cores >= most


def test_nothing_is_known_of_a_devices_other_programs() -> None:
    watch = Watch(local=False, cores=1.0)
    watch(lambda: None)
    assert watch.cores is None
    assert Watch(local=True, cores=1.5).cores == 1.5


def test_kernels_are_built_once_and_timed_in_turns() -> None:
    device = FakeDevice(lambda spec, _decisions, before: spec.cols * 1e-6 * (1 + before))
    told: list[str] = []
    step = StepCounter(8, lambda what, *_: told.append(what))
    timer = KernelTimer(device, None, 3, step, Watch(local=False))  # type: ignore[arg-type]
    found = timer.times(dict.fromkeys(SPECS, 0))
    assert [spec for spec, _ in device.log] == SPECS * 3
    assert told == ["building quantize"] * 2 + ["measuring quantize"] * 6
    assert found[SPECS[1]] == seconds_of([128e-6, 256e-6, 384e-6])
    assert found[SPECS[1]].median == 256e-6
