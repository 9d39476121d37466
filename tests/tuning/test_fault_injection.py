"""Tuning survives: phone, tracker and tuning itself are killed at random moments, 20 times each.

Set TVM_C4N_KEEP to a file to have the figures of each test appended to it as a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from tvm_c4n.compile.records import open_records

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")
pytestmark = [pytest.mark.phone, pytest.mark.slow, pytest.mark.timeout(900)]

KILLS, BATCH, TRIALS = 20, 4, 60
# Whatever takes longer hangs.
PATIENCE_SECS = 400


class Tuning:
    """A running `tvm-c4n tune`, a process of its own."""

    def __init__(self, phone, model, folder: Path) -> None:
        self.folder = folder
        self.before = self.records()
        options = ["--target", "arm64-linux", "--tracker", f"127.0.0.1:{phone.tracker.port}"]
        options += ["--records", folder, "--emulated", "--samples", 1, "--batch", BATCH]
        options += ["--no-confirm"]  # what is counted here are records
        code = "from tvm_c4n.cli.app import main; main()"
        command = [sys.executable, "-c", code, "tune", model, *options, "--trials", TRIALS]
        self.log = folder.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)

    def records(self) -> int:
        """Count the records on disk."""
        file = self.folder / "database_tuning_record.json"
        return file.read_bytes().count(b"\n") if file.is_file() else 0

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait_for_records(self, more_than: int) -> float:
        """Wait until there are more records, or tuning has ended; returns the seconds."""
        began = time.monotonic()
        while self.runs() and self.records() <= more_than:
            assert time.monotonic() - began < PATIENCE_SECS, self.text()
            time.sleep(0.02)
        return time.monotonic() - began

    def end(self) -> None:
        """Wait for its end, which must be a good one."""
        try:
            code = self.process.wait(PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"tuning hangs: {self.text()}")
        assert code == 0, self.text()

    def text(self) -> str:
        """Return the end of what it has said."""
        return self.log.read_text()[-2000:]


def keep(**figures) -> None:
    """Write figures to the file that the caller of the tests names."""
    if file := os.environ.get("TVM_C4N_KEEP"):
        with Path(file).open("a") as stream:
            stream.write(json.dumps(figures) + "\n")


def check(folder: Path) -> None:
    """What is on disk can be read, and is of use."""
    from tvm_c4n.tuning.database import Database, valid_records

    assert list(valid_records(Database(folder)))


@pytest.mark.parametrize("victim", ["server", "tracker"])
def test_the_device_is_killed(victim, own_phone, small_model, tmp_path):
    """Tuning waits for it to come back, and loses what was being measured."""
    rng = random.Random(5)
    lost, recovered, runs = 0, [], []
    tuning = None
    while len(recovered) < KILLS:
        if tuning is None or not tuning.runs():
            lost += ended(tuning)
            tuning = Tuning(own_phone, small_model, tmp_path / f"run{len(runs)}")
            runs.append(tuning)
            tuning.wait_for_records(0)
        time.sleep(rng.uniform(0, 3))
        getattr(own_phone, f"kill_{victim}")()
        time.sleep(rng.uniform(0, 3))
        before = tuning.records()
        getattr(own_phone, f"restart_{victim}")()
        if tuning.runs():
            recovered.append(tuning.wait_for_records(before))
    lost += ended(tuning)
    assert lost <= KILLS * BATCH
    keep(
        victim=victim,
        kills=KILLS,
        batch=BATCH,
        records=sum(run.records() for run in runs),
        lost=lost,
        recovery_secs_median=round(median(recovered), 2),
        recovery_secs_max=round(max(recovered), 2),
    )


def ended(tuning: Tuning | None) -> int:
    """Wait for the end of a tuning, if there is one; returns how many trials left no record."""
    if tuning is None:
        return 0
    tuning.end()
    check(tuning.folder)
    assert open_records(tuning.folder).best
    return TRIALS - tuning.records()


@pytest.mark.parametrize("seed", range(KILLS // 5))
def test_tuning_itself_is_killed(seed, own_phone, small_model, tmp_path):
    """The same command resumes; of what was measured the batch in flight is lost at most."""
    rng = random.Random(seed)
    folder, lost, recovered = tmp_path / "records", [], []
    for kill in range(5):
        sessions = done(own_phone)
        tuning = Tuning(own_phone, small_model, folder)
        if kill:
            recovered.append(tuning.wait_for_records(tuning.before))
            time.sleep(rng.uniform(0, 3))
        else:  # while it starts
            time.sleep(rng.uniform(0, 10))
        number = signal.SIGINT if kill == 1 else signal.SIGKILL  # Ctrl-C as well
        tuning.process.send_signal(number)
        code = tuning.process.wait(30)
        assert code in (-number, 130), tuning.text()
        # The phone notices that its client has left.
        time.sleep(4)
        lost.append(done(own_phone) - sessions - (tuning.records() - tuning.before))
        if tuning.records():
            check(folder)
    assert max(lost) <= BATCH
    assert tuning.records() >= tuning.before
    keep(
        victim="tune",
        seed=seed,
        kills=len(lost),
        batch=BATCH,
        lost=sum(lost),
        lost_at_once_max=max(lost),
        recovery_secs_median=round(median(recovered), 2),
        recovery_secs_max=round(max(recovered), 2),
    )


def test_tuning_listens_nowhere(own_phone, small_model, tmp_path):
    tuning = Tuning(own_phone, small_model, tmp_path / "records")
    tuning.wait_for_records(0)
    workers = [pid for pid in children(tuning.process.pid) if "popen_worker" in command_of(pid)]
    sockets = [own_phone.listening(pid) for pid in (tuning.process.pid, *workers)]
    tuning.end()
    assert workers
    assert not any(sockets)


def children(pid: int) -> list[int]:
    """The processes that a process has started, by whichever thread."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def command_of(pid: int) -> str:
    """A process's command line; empty when it has ended."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def done(phone) -> int:
    """Count the sessions that the phone has had."""
    return phone.log().count("session ")
