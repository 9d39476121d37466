"""Tasks with known answers, of model folders.

    python -m benchmarks.tasks mamba-19m out/s30 --tasks A.jsonl,B.jsonl --jobs 8
    python -m benchmarks.tasks mamba-19m out/s30 --tasks A.jsonl,B.jsonl --backend torch

Models are compiled for this machine; in torch, which needs no TVM, a task takes many times as long.

Finished rows go to benchmarks/results/tasks.json at once; what is there is not measured again, a
model being known by its name and the digest of its weights. Printed: accuracy and standard error of
each task and of their average, and how the last models compare with the first. What a task is and
how it is scored: `tvm_c4n.evaluate.tasks`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tvm_c4n.assets import resolve, task_file
from tvm_c4n.cli.console import print_table
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.tasks import TaskResult, average

RESULTS = Path(__file__).parent / "results" / "tasks.json"
Row = dict[str, Any]


def main() -> int:
    """Measure what is missing and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help="model folders, the dense one first")
    parser.add_argument("--tasks", default="blimp", help="task files, with commas between them")
    parser.add_argument("--max-items", type=int, help="only so many of a task, spread evenly")
    parser.add_argument("--backend", choices=["compiled", "torch"], default="compiled")
    parser.add_argument("--jobs", type=int, default=1, help="tasks at a time, one thread each")
    args = parser.parse_args()
    try:
        keys = [
            {"model": Path(model).name, "digest": digest(model), "task": task_file(Path(t)).stem}
            | {"max_items": args.max_items, "backend": args.backend}
            for model in args.models
            for t in args.tasks.split(",")
        ]
        work = [(model, Path(t)) for model in args.models for t in args.tasks.split(",")]
        missing = [job for job in zip(keys, work, strict=True) if remembered(job[0]) is None]
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(args.jobs, mp_context=spawn) as pool:
            for future in as_completed([pool.submit(measure, *job) for job in missing]):
                keep(future.result())
    except KeyboardInterrupt:
        return 130
    except C4nError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    show([row for key in keys if (row := remembered(key))])
    return 0


def digest(model: str) -> str:
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
    items = read_items(task_file(task), key["max_items"])
    score, tokenizer = scorer(model, key["backend"], threads=1)
    return key | asdict(run_task(key["task"], items, score, tokenizer, progress=_note(model)))


def _note(model: str) -> Any:
    def note(task: str, done: int, total: int) -> None:
        if done % 200 == 0 or done == total:
            print(f"{model} {task}: {done}/{total}", file=sys.stderr, flush=True)

    return note


def saved() -> list[Row]:
    """Read the rows of earlier calls."""
    rows: list[Row] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else []
    return rows


def remembered(key: Row) -> Row | None:
    """Return the row of a model and task if there is one."""
    return next((row for row in saved() if key.items() <= row.items()), None)


def keep(row: Row) -> None:
    """Add a row to the file."""
    RESULTS.write_text(json.dumps([*saved(), row], indent=1) + "\n", encoding="utf-8")
    print(f"{row['model']} {row['task']}: {row['accuracy']:.4f}", file=sys.stderr, flush=True)


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


if __name__ == "__main__":
    sys.exit(main())
