"""The table of a demo: models made, judged by perplexity, and measured interleaved."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.report import markdown
from tvm_c4n.cli.console import ProgressBar, print_table
from tvm_c4n.progress import Progress

if TYPE_CHECKING:
    from tvm_c4n.runtime.bench import Cell
    from tvm_c4n.runtime.engine import Engine

DENSE = "mamba-19m"
PROMPT = "The old bridge over the river was"
Maker = Callable[[Progress], "Engine"]


@dataclass
class Row:
    """One model of the table.

    Attributes
    ----------
    name : str
    make : callable
        Returns the loaded model; makes it first.
    ppl, stderr : float
        Perplexity and its standard error.
    cells : list of Cell
        Speeds, by threads and test.
    """

    name: str
    make: Maker
    ppl: float = 0.0
    stderr: float = 0.0
    cells: list[Cell] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return self.cells[0].model.artifact.manifest.weight_bytes


class Stage(ProgressBar):
    """A progress bar; where there is no terminal, a line when the stage begins and ends."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._title, self._began = title, perf_counter()
        print(f"{title} ...", file=sys.stderr, flush=True)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if error[0] is None:
            print(f"{self._title}: {perf_counter() - self._began:.1f} s", file=sys.stderr)


def bundled(name: str) -> Maker:
    """Return a maker of a bundled model: compiled when first used, and kept in the cache."""

    def make(progress: Progress) -> Engine:
        from tvm_c4n.compile.cache import load

        return load(name, progress=progress)

    return make


def pruned(out: Path, removed: int, dtype: str, samples: int) -> Maker:
    """Return a maker of a model that is pruned from the dense one, into ``out`` and ``out.art``."""

    def make(progress: Progress) -> Engine:
        import tvm_c4n

        recipe = tvm_c4n.Recipe(removed=removed, dtype=dtype, samples=samples)
        tvm_c4n.prune(DENSE, out, recipe, progress=progress, overwrite=True, dense_export=False)
        artifact = out.with_name(f"{out.name}.art")
        tvm_c4n.compile_model(out, artifact, progress=progress, overwrite=True)
        return tvm_c4n.load(artifact)

    return make


def measure(rows: list[Row], windows: int, threads: list[int], reps: int) -> None:
    """Make all models, measure their perplexity, then their speed, interleaved."""
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.evaluate import evaluate_text
    from tvm_c4n.runtime import bench

    engines = []
    for number, row in enumerate(rows, 1):
        with Stage(f"[{number}/{len(rows) + 1}] {row.name}") as bar:
            engine = row.make(bar)
            found = evaluate_text(engine, VALID_TEXT, max_windows=windows, progress=bar)
            row.ppl, row.stderr = found.perplexity.value, found.perplexity.stderr
            engines.append(engine)
    with Stage(f"[{len(rows) + 1}/{len(rows) + 1}] tokens per second, interleaved") as bar:
        cells = bench.measure(engines, threads=threads, reps=reps, progress=bar)
    for row, engine in zip(rows, engines, strict=True):
        row.cells = [cell for cell in cells if cell.model is engine]


def usable_threads() -> list[int]:
    """Return 1 and 2 threads, as far as this machine has cores."""
    return [count for count in (1, 2) if count <= (os.cpu_count() or 1)]


def as_json(rows: list[Row], settings: dict[str, Any], took: float) -> dict[str, Any]:
    """Describe the settings and every sample."""
    from tvm_c4n.runtime import bench

    models = []
    for row in rows:
        cells = [bench.as_json(cell) for cell in row.cells]
        for cell in cells:
            cell["model_filename"] = Path(cell["model_filename"]).name  # the folder is private
        figures = {"size_bytes": row.size_bytes, "ppl": row.ppl, "ppl_stderr": row.stderr}
        models.append({"name": row.name, **figures, "bench": cells})
    return {"settings": settings, "secs": round(took, 1), "models": models}


def table_of(saved: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table from what `as_json` gave: the text of every cell."""
    cells = saved["models"][0]["bench"]
    counts = {cell["n_threads"] for cell in cells}

    def title(cell: dict[str, Any]) -> str:
        test = f"pp{cell['n_prompt']}" if cell["n_prompt"] else f"tg{cell['n_gen']}"
        return f"{test} t={cell['n_threads']}" if len(counts) > 1 else test

    rows = [
        [
            model["name"],
            f"{model['size_bytes'] / 1e6:.1f}",
            f"{model['ppl']:.2f}",
            *(f"{cell['avg_ts']:.0f} ± {cell['stddev_ts']:.0f}" for cell in model["bench"]),
        ]
        for model in saved["models"]
    ]
    return [DENSE, "MB", "perplexity", *map(title, cells)], rows


def print_result(saved: dict[str, Any], caption: str) -> None:
    """Print the table of a result for a terminal of 80 columns."""
    head, rows = table_of(saved)
    print_table(caption, head, rows)


def as_markdown(saved: dict[str, Any]) -> str:
    """Lay the table of a saved result out for a document."""
    return markdown(*table_of(saved))
