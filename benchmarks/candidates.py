"""What tuning could gain on this machine: all candidates of each kernel, measured in turns.

    python -m benchmarks.candidates MODEL --out benchmarks/results/candidates-MODEL.json
    python -m benchmarks.candidates MODEL --records DIR --out FILE   # defaults and what was tuned

Tuning measures a candidate once; the fastest of many is then partly the luckiest. Here every one
has its turn in each round, and counts with its fastest round: a neighbour of a shared machine makes
a sample slower, never faster.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import Others
from schedules.base import Decisions
from tvm_c4n._tvm import tvm
from tvm_c4n.cli.console import ProgressBar, print_table
from tvm_c4n.compile.records import key_of, open_records, title_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.runtime.describe import cpu_name
from tvm_c4n.tuning.measure import COLD_BYTES, compile_measured, measured
from tvm_c4n.tuning.space import rule_kernel
from tvm_c4n.tuning.tasks import Task, tasks_of
from tvm_c4n.tuning.worker import ENTRY, FILL, huge_tensor

MIN_REPEAT_MS = 5


def candidates(
    model: Annotated[str, typer.Argument(help="C4n or Hugging Face folder.")],
    out: Annotated[Path, typer.Option(help="Gets every sample, as JSON.")],
    threads: Annotated[int, typer.Option("--threads", "-t", min=1)] = 1,
    rounds: Annotated[int, typer.Option("--rounds", "-r", min=1)] = 7,
    only: Annotated[str, typer.Option(help="Tasks with this word in their names.")] = "",
    records: Annotated[
        Path | None, typer.Option(help="Measure the defaults and what these records have instead.")
    ] = None,
) -> None:
    """Measure every candidate of each task."""
    target = resolve_target("host")
    tvm.get_global_func("runtime.config_threadpool")(0, threads)
    tasks = [task for task in tasks_of(model, target) if only in str(task)]
    chosen = {str(task): _all(task) for task in tasks}
    if records is not None:
        tuned = open_records(records, target).tuned()
        chosen = {str(task): _default_and(task, tuned(task.spec)) for task in tasks}
        tasks = [task for task in tasks if len(chosen[str(task)]) > 1]
        if not tasks:
            print(f"nothing to measure: {records} decides as the defaults do")
            return
    if not tasks:
        raise typer.BadParameter(f"{model} has no such task", param_hint="--only")
    kernels = []
    with ProgressBar("measuring") as bar, Others() as others:
        for done, task in enumerate(tasks):
            bar(str(task), done, len(tasks))
            kernels.append(_measured(task, chosen[str(task)], target, rounds))
            about = {"model": Path(model).name, "threads": threads, "cpu": cpu_name()}
            result = {**about, "rounds": rounds, "kernels": kernels}
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    out.write_text(json.dumps({**result, "others": others.cores}, indent=1) + "\n", "utf-8")
    _show(kernels, f"{model}, {threads} threads, {cpu_name()}, {others.cores} cores for others")


def _all(task: Task) -> list[Decisions]:
    """Return all candidates of a task, the default first."""
    return [dict(zip(task.space, c, strict=True)) for c in product(*task.space.values())]


def _default_and(task: Task, tuned: Decisions | None) -> list[Decisions]:
    """Return the default of a task, and what was tuned if that is another one."""
    default = _all(task)[0]
    return [default] if tuned is None or tuned == default else [default, tuned]


def _measured(task: Task, chosen: list[Decisions], target: Any, rounds: int) -> dict[str, Any]:
    """Return the microseconds of candidates of a task, by decisions."""
    with tempfile.TemporaryDirectory() as folder:
        timers: dict[str, Callable[[], float]] = {}
        tensors: list[Any] = []
        for decided in chosen:
            kernel = rule_kernel(task.spec, isa_of(target), decided)
            mod, arguments, copies = measured(kernel, COLD_BYTES)
            library = Path(folder, f"{len(timers)}.so")
            compile_measured(mod, target, library)
            module, device = tvm.runtime.load_module(str(library)), tvm.cpu(0)
            if not tensors:
                tensors = [huge_tensor(a.shape, a.dtype) for a in arguments]
                module[FILL](*tensors)
            timers[" ".join(f"{n}={c}" for n, c in decided.items())] = _timer(
                module, device, tensors, copies
            )
        samples: dict[str, list[float]] = {name: [] for name in timers}
        for _ in range(rounds):
            for name, timer in timers.items():
                samples[name].append(round(timer() * 1e6, 3))
    return {"kernel": title_of(key_of(task.spec)), "calls": task.calls, "micros": samples}


def _timer(module: Any, device: Any, tensors: list[Any], copies: int) -> Callable[[], float]:
    timer = module.time_evaluator(ENTRY, device, number=1, repeat=1, min_repeat_ms=MIN_REPEAT_MS)
    module[ENTRY](*tensors)
    return lambda: float(timer(*tensors).results[0]) / copies


def _show(kernels: list[dict[str, Any]], title: str) -> None:
    head = ["kernel", "default", "us", "fastest", "us", "default / fastest"]
    rows = []
    for kernel in kernels:
        least = {name: min(samples) for name, samples in kernel["micros"].items()}
        default, best = next(iter(least)), min(least, key=lambda name: least[name])
        ratio = f"{least[default] / least[best]:.3f}"
        rows.append(
            [kernel["kernel"], default, f"{least[default]:.1f}", best, f"{least[best]:.1f}", ratio]
        )
    print_table(title, head, rows)


if __name__ == "__main__":
    typer.run(candidates)
