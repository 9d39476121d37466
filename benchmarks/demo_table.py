"""The table of a demo: models made, and their perplexity and speed, measured interleaved."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.report import markdown
from tvm_c4n.cli.console import ProgressBar, print_table
from tvm_c4n.progress import Progress

if TYPE_CHECKING:
    from tvm_c4n.pruning import Recipe
    from tvm_c4n.runtime.bench import Cell
    from tvm_c4n.runtime.engine import Engine

DENSE = "mamba-19m"
PROMPT = "The old bridge over the river was"


@dataclass(frozen=True)
class Bundled:
    """A model that comes with the package: compiled when first used, and kept in the cache."""

    name: str

    def load(self) -> Engine:
        from tvm_c4n.compile.cache import load

        return load(self.name)


@dataclass(frozen=True)
class Pruned:
    """A model that is pruned from the dense one into `folder`, and compiled beside it."""

    folder: Path
    recipe: Recipe

    @property
    def artifact(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.art")

    def make(self, progress: Progress) -> None:
        import tvm_c4n

        options = {"progress": progress, "overwrite": True}
        tvm_c4n.prune(DENSE, self.folder, self.recipe, dense_export=False, **options)
        tvm_c4n.compile_model(self.folder, self.artifact, **options)

    def load(self) -> Engine:
        import tvm_c4n

        return tvm_c4n.load(self.artifact)


@dataclass
class Row:
    """One model of the table.

    Attributes
    ----------
    name : str
    source : Bundled or Pruned
    ppl, stderr : float
        Perplexity and its standard error.
    cells : list of Cell
        Speeds, by threads and test.
    """

    name: str
    source: Bundled | Pruned
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


def make(rows: list[Row]) -> None:
    """Make all models: one process compiles the bundled ones, this one prunes meanwhile.

    A compilation keeps one core busy, so that torch gets the others.
    """
    import torch

    bundled = [row.source.name for row in rows if isinstance(row.source, Bundled)]
    threads = torch.get_num_threads()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        compiling = pool.submit(compile_bundled, bundled)
        torch.set_num_threads(max(1, threads - 1))
        for row in rows:
            if isinstance(row.source, Pruned):
                with Stage(f"pruning and compiling {row.name}") as bar:
                    row.source.make(bar)
        torch.set_num_threads(threads)
        with Stage(f"compiling {len(bundled)} bundled models, begun meanwhile"):
            compiling.result()


def compile_bundled(names: list[str]) -> None:
    """Compile bundled models, where the cache has none."""
    from tvm_c4n.compile.cache import cached_artifact

    for name in names:
        cached_artifact(name)


def measure(rows: list[Row], windows: int, threads: list[int], reps: int) -> None:
    """Measure the perplexity of all models, then their speed, interleaved."""
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.evaluate import evaluate_text
    from tvm_c4n.runtime import bench

    engines = [row.source.load() for row in rows]
    with Stage("perplexity") as bar:
        for number, (row, engine) in enumerate(zip(rows, engines, strict=True)):
            bar(row.name, number, len(rows))
            found = evaluate_text(engine, VALID_TEXT, max_windows=windows).perplexity
            row.ppl, row.stderr = found.value, found.stderr
    with Stage("tokens per second, interleaved") as bar:
        cells = bench.measure(engines, threads=threads, reps=reps, progress=bar)
    for row, engine in zip(rows, engines, strict=True):
        row.cells = [cell for cell in cells if cell.model is engine]


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
