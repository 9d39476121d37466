"""Decode or prefill while another process keeps one core busy, interleaved with the same alone."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.contenders import Test, contenders
from benchmarks.interleaved import Line, Log, read_log
from benchmarks.options import FORMATS, Baselines, Formats, OutFile, Rounds, Save, Sizes
from benchmarks.report import markdown
from benchmarks.results import place


def busy(
    sizes: Sizes = "130m",
    formats: Formats = FORMATS,
    baselines: Baselines = "Q4_0",
    threads: Annotated[int, typer.Option("--threads", "-t")] = 2,
    rounds: Rounds = 3,
    n_gen: int = 64,
    n_prompt: Annotated[int, typer.Option(help="Read that many tokens; none are generated.")] = 0,
    save: Save = False,
    out: OutFile = None,
) -> None:
    """Measure generation, or a prompt, beside a process that keeps one core busy."""
    file = out or place("contention.jsonl", save)
    rows = contenders(sizes, formats, baselines, "")
    for one in rows:
        one.open()
    test, log = Test(n_prompt, 0 if n_prompt else n_gen), Log(file)
    for _ in range(rounds):
        for one in rows:
            alone = one.sample(test, threads)
            with busy_core():
                beside_secs = one.measure(test, threads)
            secs = {"alone_secs": alone.pop("secs"), "beside_secs": beside_secs}
            log.note(**alone | secs | {"type": "busy"})
    print(table(read_log([file])))


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy."""
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as child:
        try:
            yield
        finally:
            child.kill()


def table(lines: list[Line]) -> str:
    """Lay out medians, and what part of the speed is left."""
    groups: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        if line["type"] == "busy":
            groups[line["size"], line["test"], line["row"], line["threads"]].append(line)
    rows = []
    for (size, test, row, threads), found in groups.items():
        alone = median(line["tokens"] / line["alone_secs"] for line in found)
        beside = median(line["tokens"] / line["beside_secs"] for line in found)
        figures = [f"{alone:.0f}", f"{beside:.0f}", f"{beside / alone:.2f}"]
        rows.append([f"{size} {test}, {row}", str(threads), str(len(found)), *figures])
    head = ["model, test", "threads", "n", "t/s alone", "t/s beside a busy core", "left"]
    return markdown(head, rows)
