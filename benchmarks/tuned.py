"""The default decisions of each kernel against what tuning found, measured again in turns.

The fastest of many candidates is partly the luckiest: its own time in the records flatters it.

    tvm-c4n tune MODEL --records REC --local --threads 2 --trials 1000
    python -m benchmarks.tuned MODEL --records REC --out tuned.json
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.machine import Others
from tvm_c4n._tvm import tvm
from tvm_c4n.cli.console import Steps, print_table
from tvm_c4n.compile.records import key_of, open_records, title_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.tuning.database import measured as measured_in
from tvm_c4n.tuning.database import open_database
from tvm_c4n.tuning.measure import compile_measured, measured
from tvm_c4n.tuning.search import frozen
from tvm_c4n.tuning.space import rule_kernel
from tvm_c4n.tuning.tasks import Task, tasks_of
from tvm_c4n.tuning.worker import ENTRY, FILL

COLD_BYTES = 2**25
MIN_REPEAT_MS = 20


@dataclass
class Pair:
    """A task's default and its fastest candidate."""

    task: Task
    default: dict[str, int]
    best: dict[str, int]
    time_default: Callable[[], float]
    time_best: Callable[[], float]


def compare(
    model: Annotated[str, typer.Argument(help="What was tuned.")],
    records: Annotated[Path, typer.Option(help="Folder of `tvm-c4n tune --local`.")],
    out: Annotated[Path, typer.Option(help="Gets every sample, as JSON.")],
    rounds: Annotated[int, typer.Option("--rounds", "-r", min=1)] = 7,
) -> None:
    """Measure default and best of each kernel in turns."""
    target = resolve_target("host")
    manifest = open_records(records, target).manifest
    found = measured_in(open_database(records))
    tvm.get_global_func("runtime.config_threadpool")(0, manifest.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder, Steps("measuring") as steps, Others() as others:
        tasks = [task for task in tasks_of(model, target) if task.spec in found]
        for done, task in enumerate(tasks):
            steps(str(task), done, len(tasks))
            rows.append(_compared(_pair(task, found[task.spec], target, Path(folder)), rounds))
    about = {"model": model, "threads": manifest.threads, "cpu": manifest.target.cpu}
    result = {**about, "rounds": rounds, "others": others.cores, "kernels": rows}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _show(rows, f"{model}, {manifest.threads} threads, {manifest.target.cpu}")


def _pair(task: Task, times: dict[Any, float], target: Any, folder: Path) -> Pair:
    default = {name: choices[0] for name, choices in task.space.items()}
    fitting = {
        key: seconds
        for key, seconds in times.items()
        if all(value in task.space.get(name, ()) for name, value in key)
    }
    best = dict(min(fitting, key=lambda key: fitting[key]))
    timers = {}
    for decided in (default, best):
        if (key := frozen(decided)) not in timers:
            timers[key] = _timer(task, decided, target, folder)
    return Pair(task, default, best, timers[frozen(default)], timers[frozen(best)])


def _timer(task: Task, decided: dict[str, int], target: Any, folder: Path) -> Callable[[], float]:
    """Build a candidate; the result measures it once, in seconds."""
    mod, arguments, copies = measured(rule_kernel(task.spec, isa_of(target), decided), COLD_BYTES)
    library = folder / f"{len(list(folder.iterdir()))}.so"
    compile_measured(mod, target, library)
    module = tvm.runtime.load_module(str(library))
    device = tvm.cpu(0)
    tensors = [tvm.runtime.empty(a.shape, a.dtype, device) for a in arguments]
    module[FILL](*tensors)
    module[ENTRY](*tensors)
    timer = module.time_evaluator(ENTRY, device, number=1, repeat=1, min_repeat_ms=MIN_REPEAT_MS)
    return lambda: float(timer(*tensors).results[0]) / copies


def _compared(pair: Pair, rounds: int) -> dict[str, Any]:
    samples = [(pair.time_default(), pair.time_best()) for _ in range(rounds)]
    return {
        "kernel": title_of(key_of(pair.task.spec)),
        "default": pair.default,
        "best": pair.best,
        "gain": round(median(default / best for default, best in samples), 4),
        "default_micros": [round(default * 1e6, 3) for default, _ in samples],
        "best_micros": [round(best * 1e6, 3) for _, best in samples],
    }


def _show(rows: list[dict[str, Any]], title: str) -> None:
    head = ["kernel", "default us", "best", "best us", "default / best"]
    table = [
        [
            row["kernel"],
            f"{median(row['default_micros']):.1f}",
            "default"
            if row["best"] == row["default"]
            else ", ".join(f"{name}={value}" for name, value in row["best"].items()),
            f"{median(row['best_micros']):.1f}",
            f"{row['gain']:.3f}",
        ]
        for row in rows
    ]
    print_table(title, head, table)


if __name__ == "__main__":
    typer.run(compare)
