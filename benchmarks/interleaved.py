"""Rounds over all contenders, interleaved, and their raw samples as JSON lines.

A log is a file of JSON objects, one per line, that measurements append to: a ``run`` (command,
version, machine), then ``bandwidth`` and ``sample`` lines as they are taken. Each line says how
many cores other processes took meanwhile (``others``), so that tables can leave out what was
disturbed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender, Test
from benchmarks.machine import measure_bandwidth, wait_for_quiet
from benchmarks.results import run_info, update_readme
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.contention import CpuContention

Line = dict[str, Any]


class Log:
    """Appends to a file of samples."""

    def __init__(self, file: Path):
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self.note(type="run", **run_info())
        update_readme(file)

    def note(self, **fields: Any) -> None:
        """Append a line."""
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(fields) + "\n")


def measure(
    contenders: Sequence[Contender],
    tests: Sequence[Test],
    threads: Sequence[int],
    rounds: int,
    log: Log,
    *,
    patience_secs: float = 0,
    progress: Progress | None = None,
) -> None:
    """Open the contenders, then take every sample once per round.

    A round begins one sample later than the one before, so that no contender always follows the
    same one; the memory bandwidth is measured in each.
    """
    for index, one in enumerate(contenders):
        if progress is not None:
            progress(f"loading {one.size} {one.name}", index, len(contenders))
        one.open()
    moved = {(one, test): one.token_bytes(test) for one in contenders for test in tests}
    samples = [
        (one, test, count)
        for count in threads
        for test in tests
        for one in contenders
        if count <= one.most_threads
    ]
    for number in range(rounds):
        note_bandwidth(list(threads), log)
        first = number % len(samples)
        for done, (one, test, count) in enumerate(samples[first:] + samples[:first]):
            if progress is not None:
                what = f"{one.size} {one.name} {test} t={count}"
                progress(what, number * len(samples) + done, rounds * len(samples))
            wait_for_quiet(patience_secs)
            with CpuContention() as others:
                sample = one.sample(test, count)
            log.note(**sample, token_bytes=moved[one, test], others=others.cores)


def note_bandwidth(threads: list[int], log: Log) -> None:
    """Measure the memory bandwidth and append it."""
    with CpuContention() as others:
        found = measure_bandwidth(threads)
    for count, methods in found.items():
        log.note(type="bandwidth", threads=count, gbs=methods, others=others.cores)


def read_log(files: Sequence[Path]) -> list[Line]:
    """Return the lines of several logs."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines]
