"""`tvm-c4n run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.console import ProgressBar, write_text
from tvm_c4n.cli.prompt import FILE_HELP, PROMPT_HELP, read_prompt


def run(
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model (mamba-19m-s30-int4), model folder, or artifact. The "
            "first two are compiled when first used, and kept in ~/.cache/tvm-c4n."
        ),
    ],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help=PROMPT_HELP)] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help=FILE_HELP)] = None,
    tokens: Annotated[int, typer.Option("-n", help="Generate at most this many tokens.")] = 64,
    temp: Annotated[
        float, typer.Option(help="Temperature; 0: always the most likely token.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="For --temp above 0: same seed, same text.")] = 0,
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", help="Threads at most [one per core].")
    ] = None,
) -> None:
    """Continue a prompt: the text on stdout, the speed on stderr."""
    text = read_prompt(prompt, file)
    with ProgressBar("loading") as bar:
        from tvm_c4n.compile.cache import load
        from tvm_c4n.runtime.generate import Stats, check_request, generate

        check_request(tokens, temp, seed)  # before a model is compiled for it
        engine = load(model, threads=threads, progress=bar, notify=bar.notify)
    stats = Stats()
    write_text(text, generate(engine, text, tokens, temperature=temp, seed=seed, stats=stats))
    typer.echo(str(stats), err=True)
