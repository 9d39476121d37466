"""Options of how tokens are chosen, with llama.cpp's names; for the verbs that write text."""

from __future__ import annotations

from typing import Annotated

import typer

Temp = Annotated[
    float, typer.Option("--temp", help="Temperature; 0: always the most likely token.")
]
TopK = Annotated[int, typer.Option("--top-k", help="Draw from the K most likely tokens; 0: all.")]
TopP = Annotated[
    float, typer.Option("--top-p", help="Draw from the likeliest with P of probability; 1: all.")
]
MinP = Annotated[
    float,
    typer.Option("--min-p", help="Draw from tokens P times as likely as the first; 0: all."),
]
RepeatPenalty = Annotated[
    float,
    typer.Option("--repeat-penalty", help="Make tokens less likely that were there; 1: none."),
]
RepeatLastN = Annotated[
    int,
    typer.Option("--repeat-last-n", help="Tokens that it looks back; 0: none, -1: all."),
]
Seed = Annotated[int, typer.Option("--seed", help="For --temp above 0: same seed, same text.")]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", help="End the text before this string; may be given several times."),
]
Limit = Annotated[int, typer.Option("-n", help="Generate at most this many tokens.")]
Threads = Annotated[
    int | None, typer.Option("--threads", "-t", help="Threads at most [one per core].")
]
Model = Annotated[
    str,
    typer.Argument(
        help="Name of a bundled model (mamba-19m-s30-int4), model folder, or artifact. The "
        "first two are compiled when first used, and kept in ~/.cache/tvm-c4n."
    ),
]
