"""`tvm-c4n bench`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.console import Steps
from tvm_c4n.errors import C4nError


class Output(StrEnum):
    """Formats of the result."""

    md = "md"
    json = "json"


def bench(
    artifacts: Annotated[list[Path], typer.Argument(help="Folders of `tvm-c4n compile`.")],
    n_prompt: Annotated[int, typer.Option(help="Tokens of the prompt; 0: leave out.")] = 512,
    n_gen: Annotated[int, typer.Option(help="Tokens to generate; 0: leave out.")] = 128,
    threads: Annotated[
        str, typer.Option("--threads", "-t", help="One number or several: 1,2 [cores].")
    ] = "",
    reps: Annotated[int, typer.Option("--reps", "-r", help="Rounds.")] = 5,
    output: Annotated[Output, typer.Option("--output", "-o", help="Format.")] = Output.md,
) -> None:
    """Measure tokens per second as llama-bench does, artifacts in turns."""
    from tvm_c4n.runtime import bench as benchmark
    from tvm_c4n.runtime.engine import Engine

    counts = parse_threads(threads)
    with Steps("measuring") as steps:
        steps("loading", 0, 1)
        engines = [Engine.load(path) for path in artifacts]
        cells = benchmark.measure(
            engines, threads=counts, n_prompt=n_prompt, n_gen=n_gen, reps=reps, progress=steps
        )
    if output is Output.json:
        typer.echo(json.dumps([benchmark.as_json(cell) for cell in cells], indent=2))
    else:
        typer.echo(benchmark.as_markdown(cells))


def parse_threads(text: str) -> list[int]:
    """Read ``1,2``; nothing stands for one thread for each core.

    Raises
    ------
    C4nError
        Not a list of numbers.
    """
    from os import cpu_count

    if not text:
        return [cpu_count() or 1]
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise C4nError(f"--threads {text}: not numbers; use 1 or 1,2") from None
