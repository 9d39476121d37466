"""Accuracy of model folders on tasks with known answers.

Models are compiled for this machine; in torch, which needs no TVM, a task takes many times as long.
Finished rows are saved at once, and what is there is not measured again, a model being known by its
name and the digest of its weights. What a task is and how it is scored:
`tvm_c4n.evaluate.tasks`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.options import words
from benchmarks.results import newest, write_result
from tvm_c4n.assets import resolve, task_file
from tvm_c4n.cli.console import print_table
from tvm_c4n.evaluate.tasks import TaskResult, average

Row = dict[str, Any]


def tasks(
    models: Annotated[list[str], typer.Argument(help="Model folders, the dense one first.")],
    tasks: Annotated[str, typer.Option(help="Task files, with commas between them.")] = "blimp",
    max_items: Annotated[int | None, typer.Option(help="Items of a task, spread evenly.")] = None,
    backend: Literal["compiled", "torch"] = "compiled",
    jobs: Annotated[int, typer.Option(help="Tasks at a time, one thread each.")] = 1,
    out: Annotated[Path | None, typer.Option(help="File of the rows [the newest].")] = None,
) -> None:
    """Measure accuracy on tasks, with standard errors."""
    file = out or newest("tasks.json")
    settings = {"max_items": max_items, "backend": backend}
    work = {}
    for model in models:
        digest = digest_of(model)
        for task in map(task_file, map(Path, words(tasks))):
            key = {"model": Path(model).name, "digest": digest, "task": task.stem, **settings}
            work[json.dumps(key)] = (model, task)
    rows = _saved(file)
    missing = [(json.loads(key), job) for key, job in work.items() if not _find(rows, key)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        for future in as_completed([pool.submit(measure, *job) for job in missing]):
            row = future.result()
            rows.append(row)
            write_result(file, {"rows": rows})
            print(f"{row['model']} {row['task']}: {row['accuracy']:.4f}", file=sys.stderr)
    show([row for key in work if (row := _find(rows, key))])


def digest_of(model: str) -> str:
    """Return a short digest of a folder's weight files."""
    found = hashlib.sha256()
    for file in sorted(resolve(model).glob("*.safetensors")):
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def measure(key: Row, work: tuple[str, Path]) -> Row:
    """Put one task to one model."""
    from tvm_c4n.evaluate.scoring import scorer
    from tvm_c4n.evaluate.tasks import read_items, run_task

    model, task = work
    if key["backend"] == "torch":
        import torch

        torch.set_num_threads(1)
    items = read_items(task, key["max_items"])
    score, tokenizer, context = scorer(model, key["backend"], threads=1)

    def progress(name: str, done: int, total: int) -> None:
        if done % 200 == 0 or done == total:
            print(f"{model} {name}: {done}/{total}", file=sys.stderr, flush=True)

    result = run_task(key["task"], items, score, tokenizer, context=context, progress=progress)
    return key | asdict(result)


def _saved(file: Path) -> list[Row]:
    rows: list[Row] = json.loads(file.read_text("utf-8"))["rows"] if file.is_file() else []
    return rows


def _find(rows: list[Row], key: str) -> Row | None:
    return next((row for row in rows if json.loads(key).items() <= row.items()), None)


def show(rows: list[Row]) -> None:
    """Print accuracy with standard errors: a line for each task, a column for each model."""
    models = list(dict.fromkeys((row["model"], row["digest"]) for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    cells = {(row["model"], row["digest"], row["task"]): _result(row) for row in rows}
    lines = []
    for task in tasks:
        found = [cells[(*model, task)] for model in models if (*model, task) in cells]
        numbers = [f"{one.accuracy:.4f} +/- {one.stderr:.4f}" for one in found]
        lines.append([task, str(found[0].items), f"{found[0].chance:.2f}", *numbers])
    means = [average([cells[(*model, task)] for task in tasks]) for model in models]
    lines.append(["average", "", "", *(f"{mean:.4f} +/- {error:.4f}" for mean, error in means)])
    head = ["task", "items", "chance", *(name for name, _ in models)]
    print_table("accuracy, zero-shot, by log-likelihood", head, lines)


def _result(row: Row) -> TaskResult:
    return TaskResult(**{name: row[name] for name in TaskResult.__dataclass_fields__})
