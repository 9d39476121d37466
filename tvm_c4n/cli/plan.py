"""`tvm-c4n plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.console import ProgressBar, megabytes, print_table, say
from tvm_c4n.cli.results import write_json

if TYPE_CHECKING:
    from tvm_c4n.plan.prediction import Option, Plan

# Cores that other programs may take. Beside more of them a kernel of several threads, which wait
# for each other, takes a hundred times as long: such a speed says nothing about the model.
MOST_OTHERS = 0.5


def plan(
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model, org/name of the hub, a folder with config.json, or that "
            "file: no weights are read.",
            autocompletion=bundled,
        ),
    ],
    context: Annotated[
        int | None,
        typer.Option(help="Tokens of the longest text, for models with attention [as compile]."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", help="Threads [one per core].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Say what a model will need and how fast it will be here, for each n and dtype."""
    with ProgressBar("planning") as bar:
        bar("loading", 0, 1)
        from tvm_c4n.plan.prediction import plan_model

        found = plan_model(model, context=context, threads=threads, progress=bar)
    if as_json:
        write_json(asdict(found))
        return
    show(found)


def show(plan: Plan) -> None:
    """Print a plan: speeds only where nothing disturbed them."""
    disturbed = plan.others_cores >= MOST_OTHERS
    head = ["n", "dtype", "disk", "memory", "per token"]
    head += [] if disturbed else ["limit", "tokens/s"]
    print_table(_title(plan), head, [_row(option)[: len(head)] for option in plan.options])
    count = f"{plan.threads} thread{'s' * (plan.threads > 1)}"
    if disturbed:
        say(
            f"no speeds: other programs took {plan.others_cores:.1f} cores while they were "
            "measured; repeat it on an idle machine"
        )
        return
    typer.echo(
        f"limit: memory reads {plan.bandwidth / 1e9:.1f} GB/s here; small models stay in caches\n"
        f"tokens/s: predicted for {count}, from kernels timed here"
    )


def _title(plan: Plan) -> str:
    kept = f"state of a text: {megabytes(plan.state_bytes)}, whatever its length"
    if plan.kv_bytes:
        kept = (
            f"state of a text: {megabytes(plan.state_bytes)}; "
            f"keys and values: {megabytes(plan.kv_bytes)} for {plan.context} tokens"
        )
    return (
        f"{plan.model}: {plan.family}, {plan.parameters / 1e6:.1f} million parameters, "
        f"{plan.layers} layers\n{kept}"
    )


def _row(option: Option) -> list[str]:
    return [
        str(option.removed),
        option.dtype,
        megabytes(option.disk_bytes),
        megabytes(option.memory_bytes),
        megabytes(option.token_bytes),
        _rate(option.limit),
        _rate(option.tokens_per_sec),
    ]


def _rate(tokens_per_sec: float) -> str:
    return f"{tokens_per_sec:.0f}" if tokens_per_sec >= 100 else f"{tokens_per_sec:.1f}"
