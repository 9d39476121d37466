"""`tvm-c4n eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.conflicts import refuse_without
from tvm_c4n.cli.console import ProgressBar, print_table


def eval_(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model, model folder, org/name, or artifact.",
            autocompletion=bundled,
        ),
    ],
    text: Annotated[
        Path | None, typer.Option(help="Text to predict, .jsonl or plain [the bundled one].")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Tokens per window [1024, or the model's context if shorter]."),
    ] = None,
    max_windows: Annotated[
        int | None, typer.Option(help="Score at most this many windows, spread evenly.")
    ] = None,
    tasks: Annotated[
        list[Path] | None,
        typer.Option(
            help="Task file (.jsonl) to score, or blimp, which is bundled; may be repeated. "
            "Perplexity is then measured only with --text."
        ),
    ] = None,
    max_items: Annotated[
        int | None, typer.Option(help="Score at most this many items per task, spread evenly.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="compiled; or torch, for a model folder (slow).")
    ] = "compiled",
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", help="Threads at most [one per core].")
    ] = None,
) -> None:
    """Measure the perplexity of a text, or accuracy on tasks."""
    measured = text is not None or not tasks
    refuse_without(context, ["window", "max_windows"], "--text beside --tasks", measured)
    refuse_without(context, ["max_items"], "--tasks", bool(tasks))
    refuse_without(context, ["threads"], "--backend compiled", backend != "torch")
    from tvm_c4n.assets import VALID_TEXT

    if tasks:
        _tasks(model, tasks, max_items, backend, threads)
    if measured:
        _perplexity(model, text or VALID_TEXT, window, max_windows, backend, threads)


def _perplexity(
    model: str,
    text: Path,
    window: int | None,
    max_windows: int | None,
    backend: str,
    threads: int | None,
) -> None:
    from tvm_c4n.evaluate.evaluation import evaluate_scored
    from tvm_c4n.evaluate.scoring import scorer

    with ProgressBar("evaluating") as bar:
        bar("loading", 0, 1)
        opened = scorer(model, backend, threads=threads, progress=bar, notify=bar.notify)
        result = evaluate_scored(
            opened.score,
            opened.tokenizer,
            text,
            context=opened.context,
            window=window,
            max_windows=max_windows,
            progress=bar,
        )
    found = result.perplexity
    windows = "1 window" if found.windows == 1 else f"{found.windows} windows"
    typer.echo(
        f"{found} ({found.tokens} tokens in {windows}; {result.bits_per_byte:.4f} bits per byte)"
    )


def _tasks(
    model: str, tasks: list[Path], max_items: int | None, backend: str, threads: int | None
) -> None:
    from tvm_c4n.assets import task_file
    from tvm_c4n.evaluate.scoring import scorer
    from tvm_c4n.evaluate.tasks import average, read_items, run_task

    files = [task_file(task) for task in tasks]
    work = [(file.stem, read_items(file, max_items)) for file in files]
    with ProgressBar("evaluating") as bar:
        bar("loading", 0, 1)
        score, tokenizer, context = scorer(
            model, backend, threads=threads, progress=bar, notify=bar.notify
        )
        results = [
            run_task(name, items, score, tokenizer, context=context, progress=bar)
            for name, items in work
        ]
    rows = [
        [
            found.task,
            str(found.items),
            f"{found.accuracy:.4f} +/- {found.stderr:.4f}",
            f"{found.chance:.2f}",
            "" if found.per_byte is None else f"{found.per_byte:.4f}",
            "" if found.target_perplexity is None else f"{found.target_perplexity:.1f}",
        ]
        for found in results
    ]
    if len(results) > 1:
        mean, stderr = average(results)
        rows.append(["average", "", f"{mean:.4f} +/- {stderr:.4f}", "", "", ""])
    head = ["task", "items", "accuracy", "chance", "per byte", "perplexity"]
    print_table(f"{model}: zero-shot, by log-likelihood", head, rows)
