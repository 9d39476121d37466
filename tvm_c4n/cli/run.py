"""`tvm-c4n run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    artifact: Annotated[Path, typer.Argument(help="Folder of `tvm-c4n compile`.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="Text to continue.")] = "",
    tokens: Annotated[int, typer.Option("-n", help="Tokens to generate at most.")] = 64,
    temp: Annotated[float, typer.Option(help="0: always the most likely token.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Draws the tokens where temp is above 0.")] = 0,
    threads: Annotated[int | None, typer.Option(help="[one for each core]")] = None,
) -> None:
    """Continue a prompt: the text on stdout, the speed on stderr."""
    from tvm_c4n.runtime.engine import Engine
    from tvm_c4n.runtime.generate import Stats, generate

    engine = Engine.load(artifact, threads=threads)
    stats = Stats()
    pieces = generate(engine, prompt, tokens, temperature=temp, seed=seed, stats=stats)
    typer.echo(prompt, nl=False)
    for piece in pieces:
        typer.echo(piece, nl=False)  # flushes: the text appears as it comes
    typer.echo()
    typer.echo(str(stats), err=True)
