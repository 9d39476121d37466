"""64 clients: no answer is lost, and memory does not grow.

``C4N_CROWD_SECS=600 C4N_CROWD_MODEL=mamba-19m-n2-int4 pytest -s tests/server/test_crowd.py`` is the
long form, with a model of some size.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from tests.server.client import Running, wait_until
from tests.server.crowd import Tally, crowd
from tests.server.test_running import process

SECS = float(os.environ.get("C4N_CROWD_SECS", "20"))
MODEL = os.environ.get("C4N_CROWD_MODEL", "")
CLIENTS = 64
# What an allocator may keep of what was freed.
MOST_GROWTH = 1.1


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Memory(threading.Thread):
    """Reads the memory of a process once a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.samples: list[int] = []
        self._pid, self._ended = pid, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(1):
            self.samples.append(resident_bytes(self._pid))

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.mark.slow
@pytest.mark.timeout(SECS + 300)
def test_a_crowd_loses_nothing(talking: Path) -> None:
    # A cache that is full before memory is measured, even with the states of a tiny model.
    options = ["--slots", 8, "--queue", 40, "--cache", 4, "--max-tokens", 1000]
    with process(MODEL or talking, *options) as (server, port):
        running = Running(None, port, lambda: None, threading.Thread())  # type: ignore[arg-type]
        asyncio.run(crowd(port, CLIENTS, SECS / 10))
        memory = Memory(server.pid)
        memory.start()
        before, began = answered(running), time.monotonic()
        tally = asyncio.run(crowd(port, CLIENTS, SECS, seed=1000))
        took = time.monotonic() - began
        memory.end()
        wait_until(lambda: running.metric("c4n_answers ") == 0)
        after = {status: count - before[status] for status, count in answered(running).items()}
        report(tally, memory.samples, took, after)
        assert tally.wrong == []
        counts = tally.counts
        assert counts["done"] + counts["left"] + counts["full"] == counts["sent"]
        assert after["200"] >= counts["done"] > 0
        assert after["429"] >= counts["full"]
        # Who left may have been answered or refused before that; nobody else left.
        assert sum(after.values()) <= counts["sent"]
        assert after["499"] <= counts["left"]
        assert running.metric("c4n_decoding ") == running.metric("c4n_waiting ") == 0
        first = sorted(memory.samples[: max(3, len(memory.samples) // 5)])
        assert memory.samples[-1] <= MOST_GROWTH * first[len(first) // 2]
        server.terminate()
        assert server.wait(30) == 0


def answered(running: Running) -> dict[str, float]:
    name = 'c4n_requests_total{path="/v1/completions",status="%s"}'
    return {status: running.metric(name % status) for status in ("200", "429", "499", "500", "503")}


def report(tally: Tally, memory: list[int], secs: float, after: dict[str, float]) -> None:
    """Print the figures."""
    megabytes = [round(size / 1e6, 1) for size in memory]
    shown = [*megabytes[:: max(1, len(megabytes) // 10)], megabytes[-1]]
    print(f"\n{secs:.0f} s: {dict(tally.counts)}, {tally.tokens} tokens")
    print(f"the server answered: {after}\nMB resident: {shown}")
