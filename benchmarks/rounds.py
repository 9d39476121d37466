"""Rounds over all rows in turns, and the raw samples as JSON lines.

A log is a file of JSON objects, one a line, that measurements append to: a ``run`` (machine,
versions, settings), then ``bandwidth`` and ``sample`` lines as they are taken. Each line says how
many cores other processes took meanwhile, so that tables can leave out what was disturbed.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import Others, measure_bandwidth, wait_for_quiet
from benchmarks.models import compiler_digest
from benchmarks.rows import Row, Test
from tvm_c4n import __version__
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.describe import cpu_name


class Log:
    """Appends to a file of samples."""

    def __init__(self, file: Path, command: str):
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self.note(
            type="run",
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            command=command,
            version=__version__,
            compiler=compiler_digest(),
            cpu=cpu_name(),
            cores=os.cpu_count(),
            kernel=platform.release(),
        )

    def note(self, **fields: Any) -> None:
        """Append a line."""
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(fields) + "\n")


def measure(
    rows: Sequence[Row],
    tests: Sequence[Test],
    threads: Sequence[int],
    rounds: int,
    log: Log,
    *,
    patience_secs: float = 0,
    progress: Progress | None = None,
) -> None:
    """Open the rows, then take every sample once a round.

    A round begins one sample later than the one before, so that none always follows the same one;
    the memory bandwidth is taken in each.
    """
    for index, row in enumerate(rows):
        if progress is not None:
            progress(f"loading {row.size} {row.name}", index, len(rows))
        row.open()
    samples = [
        (row, test, count)
        for count in threads
        for test in tests
        for row in rows
        if row.runs(test, count)
    ]
    for number in range(rounds):
        note_bandwidth(list(threads), log)
        first = number % len(samples)
        for done, (row, test, count) in enumerate(samples[first:] + samples[:first]):
            if progress is not None:
                what = f"{row.size} {row.name} {test} t={count}"
                progress(what, number * len(samples) + done, rounds * len(samples))
            wait_for_quiet(patience_secs)
            with Others() as others:
                secs = row.measure(test, count)
            log.note(
                type="sample",
                engine=row.engine,
                size=row.size,
                row=row.name,
                test=str(test),
                tokens=test.tokens,
                threads=count,
                secs=secs,
                weight_bytes=row.weight_bytes,
                others=others.cores,
            )


def note_bandwidth(threads: list[int], log: Log) -> None:
    """Measure the memory bandwidth and append it."""
    with Others() as others:
        found = measure_bandwidth(threads)
    for count, ways in found.items():
        log.note(type="bandwidth", threads=count, gbs=ways, others=others.cores)


def read_log(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the lines of several logs."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines]
