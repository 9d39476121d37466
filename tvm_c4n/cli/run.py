"""`tvm-c4n run`."""

from __future__ import annotations

from typing import Annotated

import typer

from tvm_c4n.cli.console import ProgressBar


def run(
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model (mamba-19m-s30-int4), model folder, or artifact. The "
            "first two are compiled when first used, and kept in ~/.cache/tvm-c4n."
        ),
    ],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="Text to continue.")] = "",
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
    with ProgressBar("loading") as bar:
        from tvm_c4n.compile.cache import load
        from tvm_c4n.runtime.generate import Stats, generate

        engine = load(model, threads=threads, progress=bar, notify=bar.notify)
    stats = Stats()
    pieces = generate(engine, prompt, tokens, temperature=temp, seed=seed, stats=stats)
    first = next(pieces, "")  # what is wrong with the options is said before any text
    typer.echo(prompt + first, nl=False)
    for piece in pieces:
        typer.echo(piece, nl=False)  # flushes: the text appears as it comes
    typer.echo()
    typer.echo(str(stats), err=True)
