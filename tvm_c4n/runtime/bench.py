"""Measure artifacts as llama-bench does: tests ``ppN`` (read a prompt) and ``tgN`` (generate).

Every cell (artifact, threads, test) is warmed up once and then measured once per round, and the
rounds go through all cells: a machine that gets slower or busier meets all of them alike. Each
round starts one cell later than the one before, so that no cell always follows the same one.

As in llama-bench, prompts are random tokens behind ``<|endoftext|>``, generation reads random
tokens too (choosing them is not measured), and both start from an empty state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import fmean, stdev
from time import perf_counter_ns
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.progress import Progress
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.artifact import Artifact
from tvm_c4n.runtime.contention import BUSY_CORES, CpuContention
from tvm_c4n.runtime.describe import (
    cpu_name,
    main_dtype,
    model_type,
    parameters,
    removed_by_kind,
)

WARMUP_TOKENS = 16
_SEED = 42


class Benched(Protocol):
    """The part of `tvm_c4n.runtime.engine.Engine` that is measured."""

    @property
    def config(self) -> ModelConfig:
        """Sizes of the model."""
        ...

    @property
    def artifact(self) -> Artifact:
        """Folder and manifest."""
        ...

    def set_threads(self, threads: int) -> None:
        """Use this many threads."""
        ...

    def reset(self) -> None:
        """Forget the text."""
        ...

    def prefill(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Read tokens."""
        ...

    def step(self, token: int) -> NDArray[Any]:
        """Read one token."""
        ...


@dataclass
class Cell:
    """One line of the result: an artifact, a number of threads and a test.

    Attributes
    ----------
    model : Benched
    threads : int
    n_prompt, n_gen : int
        Tokens read or generated; one of them is 0.
    samples_ns : list of int
        Durations, one per round.
    others_cores : list of float
        Cores that other processes took in each round, all cells of the round together.
    test_time : str
        When the first sample was taken (UTC, ISO 8601).
    """

    model: Benched
    threads: int
    n_prompt: int
    n_gen: int
    samples_ns: list[int] = field(default_factory=list)
    others_cores: list[float] = field(default_factory=list)
    test_time: str = ""

    @property
    def test(self) -> str:
        """``pp512`` or ``tg128``."""
        return f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"

    @property
    def samples_ts(self) -> list[float]:
        """Tokens per second of each round."""
        return [(self.n_prompt + self.n_gen) * 1e9 / ns for ns in self.samples_ns]

    @property
    def avg_ts(self) -> float:
        """Mean of the rates, as llama-bench has it."""
        return fmean(self.samples_ts)

    @property
    def stddev_ts(self) -> float:
        """Standard deviation of the rates over rounds; 0 for a single one."""
        return _spread(self.samples_ts)

    def measure(self) -> int:
        """Run the test once; returns nanoseconds."""
        huge_pages.wait()
        self.model.set_threads(self.threads)
        self.model.reset()
        count = self.n_prompt + self.n_gen
        ids = np.random.default_rng(_SEED).integers(1, self.model.config.vocab_size, count)
        ids[0] = 0
        if self.n_prompt:
            began = perf_counter_ns()
            self.model.prefill(ids)
            return perf_counter_ns() - began
        tokens = [int(token) for token in ids]
        began = perf_counter_ns()
        for token in tokens:
            self.model.step(token)
        return perf_counter_ns() - began

    def warm_up(self) -> None:
        """Touch the weights and start the threads; a whole prompt, but only a few steps."""
        count = min(self.n_gen, WARMUP_TOKENS)
        Cell(self.model, self.threads, self.n_prompt, count).measure()


def measure(
    models: Sequence[Benched],
    *,
    threads: Sequence[int],
    n_prompt: int = 512,
    n_gen: int = 128,
    reps: int = 5,
    progress: Progress | None = None,
) -> list[Cell]:
    """Measure artifacts against each other.

    Parameters
    ----------
    models : sequence of Benched
    threads : sequence of int
        Numbers of threads to measure with.
    n_prompt, n_gen : int
        Tokens of the two tests; 0 leaves a test out.
    reps : int
        Rounds.
    progress : callable, optional
        ``progress(what, done, total)`` after each measurement.

    Returns
    -------
    list of Cell
        By model, then threads, then test.

    Raises
    ------
    C4nError
        Nothing to measure, more threads than cores, or a test longer than a model's context.
    """
    tests = [(n_prompt, 0)] * (n_prompt > 0) + [(0, n_gen)] * (n_gen > 0)
    if not models or not threads or not tests or reps < 1 or min(n_prompt, n_gen) < 0:
        raise C4nError("nothing to measure: needs a model, threads, a test of 1 token and 1 rep")
    for model in models:
        context, longest = model.config.context, max(n_prompt, n_gen)
        if context is not None and longest > context:
            raise C4nError(
                f"{model.artifact.path.name} reads {context} tokens at most, not {longest}; "
                f"use --n-prompt and --n-gen up to {context}"
            )
    cells = [Cell(model, count, *test) for model in models for count in threads for test in tests]
    total, done = len(cells) * (reps + 1), 0

    def tell(cell: Cell) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(f"{cell.model.artifact.path.name} {cell.test} t={cell.threads}", done, total)

    for cell in cells:
        cell.warm_up()
        tell(cell)
    for round_ in range(reps):
        first = round_ % len(cells)
        with CpuContention() as others:
            for cell in cells[first:] + cells[:first]:
                cell.test_time = cell.test_time or _now()
                cell.samples_ns.append(cell.measure())
                tell(cell)
        for cell in cells:
            cell.others_cores.append(others.cores)
    return cells


def contention_note(cells: Sequence[Cell]) -> str:
    """Say that other programs took cores while cells were measured; empty if they did not."""
    rounds = cells[0].others_cores
    taken = [cores for cores in rounds if cores >= BUSY_CORES]
    if not taken:
        return ""
    return (
        f"other programs took up to {max(taken):.1f} cores in {len(taken)} of {len(rounds)} "
        "rounds: these are not the speeds of an idle machine"
    )


def as_json(cell: Cell) -> dict[str, Any]:
    """Describe a cell with llama-bench's field names, and ours (removed, dtype)."""
    artifact = cell.model.artifact
    manifest = artifact.manifest
    return {
        "tvm_version": manifest.tvm,
        "cpu_info": cpu_name(),
        "gpu_info": "",
        "backends": f"TVM {manifest.isa}",
        "model_filename": str(artifact.path),
        "model_type": model_type(manifest),
        "model_size": manifest.weight_bytes,
        "model_n_params": parameters(manifest),
        "removed": {name: list(found) for name, found in removed_by_kind(manifest).items()},
        "dtype": main_dtype(manifest),
        "n_threads": cell.threads,
        "n_prompt": cell.n_prompt,
        "n_gen": cell.n_gen,
        "test_time": cell.test_time,
        "avg_ns": round(fmean(cell.samples_ns)),
        "stddev_ns": round(_spread(cell.samples_ns)),
        "avg_ts": cell.avg_ts,
        "stddev_ts": cell.stddev_ts,
        "samples_ns": list(cell.samples_ns),
        "samples_ts": cell.samples_ts,
        "others_cores": list(cell.others_cores),
    }


def as_markdown(cells: Sequence[Cell]) -> str:
    """Lay cells out as llama-bench's table, in 80 columns: what a model is stands below."""
    head = ("model", "size", "threads", "test", "t/s")
    rows = [_row(cell) for cell in cells]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    left = 1  # the model's name is text, the rest are figures

    def line(row: Sequence[str]) -> str:
        parts = [
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(parts)} |"

    rules = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    models = dict.fromkeys(_about(cell.model.artifact) for cell in cells)
    return "\n".join([line(head), line(rules), *(line(row) for row in rows), "", *models])


def _about(artifact: Artifact) -> str:
    manifest = artifact.manifest
    return f"{artifact.path.name}: {model_type(manifest)}, TVM {manifest.isa}"


def _row(cell: Cell) -> tuple[str, ...]:
    artifact = cell.model.artifact
    return (
        artifact.path.name,
        f"{artifact.manifest.weight_bytes / 1e6:.2f} MB",
        str(cell.threads),
        cell.test,
        f"{cell.avg_ts:.2f} ± {cell.stddev_ts:.2f}",
    )


def _spread(samples: Sequence[float]) -> float:
    return float(stdev(samples)) if len(samples) > 1 else 0.0


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
