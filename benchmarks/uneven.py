"""Decode with one slow core: loops that threads take in chunks, beside loops that are split evenly.

A process that spins and sleeps for some microseconds takes a part of one core's time, at a higher
priority than the models have. It does not stand for a program that keeps a core.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import typer

from benchmarks.machine import CACHE, HERE, compile_c, wait_for_quiet
from benchmarks.models import model_folder, stamp, up_to_date
from benchmarks.options import Patience, Rounds, Save, Sizes, words
from benchmarks.random_models import Format
from benchmarks.report import markdown
from benchmarks.results import place, write_result
from relay_passes import TakeChunks
from relay_passes.take_chunks import LONG_BYTES
from tvm_c4n._tvm import register_kernel_pipeline
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.compile.build import KERNELS
from tvm_c4n.runtime.engine import Engine

# How loops are shared out, and the bytes from which they are taken.
VERSIONS = {"split": sys.maxsize, "taken": LONG_BYTES}
# Cases beside those of both versions: one thread, on the first core and on the slow one.
FIRST, SLOW = "first core", "slow core"
SPIN_US, SLEEP_US = 20, 40
BLOCK_SECS = 0.06
# Of the models while the process runs beside them.
NICE = 10

Samples = dict[str, dict[str, list[float]]]


def uneven(
    sizes: Sizes = "370m,mamba-19m",
    fmt: Annotated[str, typer.Option("--format", help="DTYPE-nN.")] = "int4-n2",
    rounds: Rounds = 15,
    spin: Annotated[int, typer.Option(help="Microseconds that the process takes.")] = SPIN_US,
    sleep: Annotated[int, typer.Option(help="Microseconds that it sleeps between.")] = SLEEP_US,
    patience: Patience = 0,
    save: Save = False,
) -> None:
    """Measure decode on two cores, one of which is slow."""
    models = {size: _engines(size, Format.parse(fmt)) for size in words(sizes)}
    program = compile_c(HERE / "slow_core.c")
    slow = [str(program), "1", str(spin), str(sleep)]
    wait_for_quiet(patience)
    found: dict[str, Samples] = {}
    for size, engines in models.items():
        found[size] = measured(engines, slow, rounds)
    write_result(place("uneven.json", save), {"spin": spin, "sleep": sleep, "models": found})
    print(table(found))


def measured(engines: dict[str, Engine], slow: list[str], rounds: int) -> Samples:
    """Return seconds of a step by version and case, one sample a round, all interleaved."""
    out: Samples = {name: {"even": [], "uneven": []} for name in engines}
    out |= {name: {"uneven": []} for name in (FIRST, SLOW)}
    any_of_them = next(iter(engines.values()))
    for round_ in range(rounds):
        order = list(engines)[round_ % len(engines) :] + list(engines)[: round_ % len(engines)]
        for case in ("even", "uneven"):
            with running(slow) if case == "uneven" else nullcontext():
                # A thread that wakes up may share a core with the other one until the next tick.
                _step_secs(engines[order[-1]], 2)
                for name in order:
                    out[name][case].append(_step_secs(engines[name], 2))
                if case == "uneven":
                    out[FIRST][case].append(_step_secs(any_of_them, 1, core=0))
                    out[SLOW][case].append(_step_secs(any_of_them, 1, core=1))
    return out


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """Run a program at this process's priority, and this process below it."""
    with subprocess.Popen(command) as child:
        os.nice(max(0, NICE - os.nice(0)))
        try:
            yield
        finally:
            child.kill()


def _step_secs(engine: Engine, threads: int, core: int | None = None) -> float:
    """Return the median step of a block, the first ones left out."""
    engine.set_threads(threads, adapt=False)
    engine.reset()
    engine.step(1)
    cores = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        secs: list[float] = []
        end = perf_counter() + BLOCK_SECS
        while perf_counter() < end or len(secs) < 4:
            began = perf_counter()
            engine.step(1)
            secs.append(perf_counter() - began)
    finally:
        os.sched_setaffinity(0, cores)
    return median(secs[1:])


def _engines(size: str, fmt: Format) -> dict[str, Engine]:
    """Compile a model in each version, unless it is there."""
    found: dict[str, Engine] = {}
    for name, long_bytes in VERSIONS.items():
        out = CACHE / "uneven" / f"{size}-{fmt}-{name}.art"
        if not up_to_date(out):
            register_kernel_pipeline(KERNELS, partial(TakeChunks, long_bytes))
            compile_model(model_folder(size, fmt), out, overwrite=True)
            stamp(out)
        found[name] = Engine.load(out)
    return found


def table(found: dict[str, Samples]) -> str:
    """Lay out medians, and what is kept of the speed that both cores could give together.

    That is the speed of two even cores, times the speed of both as they are, each measured alone,
    over twice that of the first.
    """
    rows: list[list[str]] = []
    for size, samples in found.items():
        slow_speed = median(samples[FIRST]["uneven"]) / median(samples[SLOW]["uneven"])
        for name in VERSIONS:
            even, uneven_ = (median(samples[name][case]) for case in ("even", "uneven"))
            pairs: list[Any] = [
                a / b for a, b in zip(samples[name]["even"], samples["split"]["even"], strict=True)
            ]
            could = median(samples["split"]["even"]) * 2 / (1 + slow_speed)
            figures = [f"{even * 1e3:.3f}", f"{median(pairs):.3f}", f"{uneven_ * 1e3:.3f}"]
            rows.append([size, name, *figures, f"{slow_speed:.2f}", f"{could / uneven_:.2f}"])
    head = ["model", "loops", "even, ms", "of split", "slowed, ms", "slow core", "kept"]
    return markdown(head, rows)
