"""Decode while another process keeps one core busy, in turns with decode alone."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.report import Line, markdown
from benchmarks.rounds import Log
from benchmarks.rows import Row, Test

MOST_LOST = 0.5
"""Part of the speed that a busy second core may cost."""


@contextmanager
def spinner() -> Iterator[None]:
    """Keep one core busy."""
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as child:
        try:
            yield
        finally:
            child.kill()


def measure(rows: Sequence[Row], test: Test, threads: int, rounds: int, log: Log) -> None:
    """Take a sample alone and one beside the spinner, for each row in turn."""
    for row in rows:
        row.open()
    for _ in range(rounds):
        for row in rows:
            alone = row.measure(test, threads)
            with spinner():
                beside = row.measure(test, threads)
            log.note(
                type="busy",
                size=row.size,
                row=row.name,
                threads=threads,
                test=str(test),
                tokens=test.tokens,
                alone_secs=alone,
                beside_secs=beside,
            )


def table(lines: list[Line]) -> str:
    """Lay out medians, and what part of the speed is left."""
    groups: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        if line["type"] == "busy":
            groups[line["size"], line["row"], line["threads"]].append(line)
    rows = []
    for (size, row, threads), found in groups.items():
        alone = median(line["tokens"] / line["alone_secs"] for line in found)
        beside = median(line["tokens"] / line["beside_secs"] for line in found)
        met = "yes" if beside >= (1 - MOST_LOST) * alone else "no"
        figures = [f"{alone:.1f}", f"{beside:.1f}", f"{beside / alone:.2f}", met]
        rows.append([f"{size} {row}", str(threads), str(len(found)), *figures])
    head = ["row", "threads", "n", "t/s alone", "t/s beside a busy core", "left", "half or more"]
    return markdown(head, rows)
