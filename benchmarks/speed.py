"""Tokens per second of generation and of prompts, ours beside llama.cpp's and TVM's own build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import options
from benchmarks.contenders import Contender, Test, contenders
from benchmarks.interleaved import Log, measure, read_log
from benchmarks.options import numbers
from benchmarks.report import tables
from benchmarks.results import place
from tvm_c4n.cli.console import ProgressBar

# Samples beside which other processes took more cores than this are left out of tables.
MAX_OTHERS = 0.2


def decode(
    sizes: options.Sizes = "130m",
    formats: options.Formats = options.FORMATS,
    baselines: options.Baselines = options.BASELINES,
    tvm: options.Tvm = "",
    target: options.Target = "host",
    threads: options.Threads = "1,2",
    rounds: options.Rounds = 5,
    n_gen: int = 64,
    save: options.Save = False,
    out: options.OutFile = None,
    patience: options.Patience = 0,
) -> None:
    """Measure generation, all contenders interleaved."""
    file = out or place("decode.jsonl", save)
    found = contenders(sizes, formats, baselines, tvm, target)
    _measure(found, [Test(0, n_gen)], numbers(threads), rounds, file, patience)


def prefill(
    sizes: options.Sizes = "130m",
    formats: options.Formats = options.FORMATS,
    baselines: options.Baselines = options.BASELINES,
    tvm: options.Tvm = "",
    target: options.Target = "host",
    threads: options.Threads = "2",
    rounds: options.Rounds = 5,
    n_prompt: Annotated[str, typer.Option(help="Tokens; several: 512,8192.")] = "512",
    save: options.Save = False,
    out: options.OutFile = None,
    patience: options.Patience = 0,
) -> None:
    """Measure prompt processing, all contenders interleaved."""
    file = out or place("prefill.jsonl", save)
    tests = [Test(tokens, 0) for tokens in numbers(n_prompt)]
    found = contenders(sizes, formats, baselines, tvm, target)
    _measure(found, tests, numbers(threads), rounds, file, patience)


def make(
    sizes: options.Sizes = "130m",
    formats: options.Formats = options.FORMATS,
    baselines: options.Baselines = options.BASELINES,
    tvm: options.Tvm = "",
    target: options.Target = "host",
) -> None:
    """Make the files that decode and prefill measure, so that no measurement has to."""
    for one in contenders(sizes, formats, baselines, tvm, target):
        print(f"{one.size} {one.name}", file=sys.stderr, flush=True)
        one.make()


def report(
    logs: Annotated[list[Path], typer.Argument(help="Logs of decode and prefill.")],
    threads: options.Threads = "",
    max_others: Annotated[
        float, typer.Option(help="Leave out samples beside which others took more cores.")
    ] = MAX_OTHERS,
) -> None:
    """Print the tables of logs as Markdown."""
    print(tables(read_log(logs), max_others, numbers(threads)))


def _measure(
    found: list[Contender],
    tests: list[Test],
    threads: list[int],
    rounds: int,
    file: Path,
    patience: float,
) -> None:
    with ProgressBar("measuring") as bar:
        log = Log(file)
        measure(found, tests, threads, rounds, log, patience_secs=patience, progress=bar)
    print(tables(read_log([file]), max_others=99))
