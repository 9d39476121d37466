"""Options of how tokens are chosen, with llama.cpp's names; for the verbs that write text."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.completion import bundled

if TYPE_CHECKING:
    from tvm_c4n.runtime.sampling import SamplingParams

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
Limit = Annotated[int, typer.Option("--n-predict", "-n", help="Generate at most this many tokens.")]
Threads = Annotated[
    int | None, typer.Option("--threads", "-t", help="Threads at most [one per core].")
]
Model = Annotated[
    str,
    typer.Argument(
        help="Name of a bundled model (mamba-19m-s30-int4), model folder, org/name of the hub, or "
        "artifact. All but the last are compiled when first used, and kept in ~/.cache/tvm-c4n.",
        autocompletion=bundled,
    ),
]

# Where no seed is given and answers should differ from run to run.
_MOST_SEED = 1 << 31


def params_of(context: typer.Context) -> SamplingParams:
    """Return what the options of a verb say, whose parameters have the names of this module.

    Raises
    ------
    C4nError
        Names a value that is out of range.
    """
    from tvm_c4n.runtime.sampling import SamplingParams

    said = context.params
    seed = said["seed"]
    return SamplingParams(
        temperature=said["temp"],
        top_k=said["top_k"],
        top_p=said["top_p"],
        min_p=said["min_p"],
        repeat_penalty=said["repeat_penalty"],
        repeat_last_n=said["repeat_last_n"],
        seed=random.randrange(_MOST_SEED) if seed is None else seed,  # noqa: S311
        stop=tuple(said["stop"] or ()),
    )
