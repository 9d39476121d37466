"""`tvm-c4n eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.console import Steps


def eval_(
    model: Annotated[
        str,
        typer.Argument(
            help="Artifact; or a model folder, which is compiled for this machine to a "
            "temporary artifact first."
        ),
    ],
    text: Annotated[
        Path | None, typer.Option(help="Text to predict, .jsonl or plain [the package's].")
    ] = None,
    window: Annotated[int, typer.Option(help="Tokens per window.")] = 1024,
    max_windows: Annotated[
        int | None, typer.Option(help="Score only so many windows, spread evenly.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="[one for each core]")] = None,
) -> None:
    """Measure the perplexity of a text."""
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.evaluate.folder import engine_of, evaluate_text

    with Steps("evaluating") as steps:
        steps("loading", 0, 1)
        with engine_of(model, threads=threads, progress=steps) as engine:
            result = evaluate_text(
                engine,
                text or VALID_TEXT,
                window=window,
                max_windows=max_windows,
                progress=steps,
            )
    found = result.perplexity
    typer.echo(
        f"{found} ({found.tokens} tokens in {found.windows} windows; "
        f"{result.bits_per_byte:.4f} bits per byte)"
    )
