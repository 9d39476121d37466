"""`make demo`: prune the embedded model eight ways, compile, measure, print one table.

Rows with n=0 are quantised only: they tell what is won by int8 or int4 from what is won by C4n.

    python benchmarks/demo.py [--out build/demo] [--save]

Everything is made again on every run. The defaults take 6 to 15 minutes on two cores; that is why
fewer calibration windows are used than `tvm-c4n prune` would, and why the perplexity is that of a
part of the text.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tvm_c4n.cli.console import ProgressBar, print_table
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.evaluate import Evaluation
    from tvm_c4n.runtime.bench import Cell
    from tvm_c4n.runtime.engine import Engine

MODEL = "mamba-19m"
PROMPT = "The old bridge over the river was"
DENSE = "float16"
VARIANTS = [(removed, dtype) for removed in (0, 1, 2, 3) for dtype in ("int8", "int4")]
RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One model of the table."""

    name: str
    removed: int
    dtype: str
    artifact: Path
    engine: Engine | None = None
    evaluation: Evaluation | None = None
    cells: tuple[Cell, ...] = ()
    text: str = ""

    @property
    def ready(self) -> Engine:
        """The engine, once it is loaded."""
        assert self.engine is not None  # noqa: S101
        return self.engine


def main() -> int:
    """Run the demo; returns the exit code."""
    args = parse()
    out = Path(args.out)
    began = perf_counter()
    try:
        rows = make_models(out, args.samples)
        evaluate(rows, args.windows)
        measure(rows, args)
    except KeyboardInterrupt:
        return 130
    except C4nError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    took = perf_counter() - began
    show(rows, took)
    result = as_json(rows, args, took)
    write(out / "demo.json", result)
    if args.save:
        cpu = re.sub(r"[^a-z0-9]+", "-", result["cpu_info"].lower()).strip("-")
        write(RESULTS / f"demo-{cpu}.json", result)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The table of `make demo`.")
    parser.add_argument("--out", default="build/demo", help="folder of models and results")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS}/demo-CPU.json")
    parser.add_argument("--samples", type=int, default=48, help="calibration windows")
    parser.add_argument("--windows", type=int, default=12, help="windows of the perplexity")
    parser.add_argument("--reps", type=int, default=5, help="rounds of the speed measurement")
    parser.add_argument("--n-prompt", type=int, default=512)
    parser.add_argument("--n-gen", type=int, default=128)
    return parser.parse_args()


def make_models(out: Path, samples: int) -> list[Row]:
    """Prune and compile; the dense model is the first row."""
    from tvm_c4n.compile.artifact import compile_model
    from tvm_c4n.pruning import Recipe
    from tvm_c4n.pruning.run import prune

    rows = [Row(DENSE, 0, "float16", out / "dense.c4n")]
    for removed, dtype in VARIANTS:
        name = f"n={removed} {dtype}"
        rows.append(Row(name, removed, dtype, out / f"n{removed}-{dtype}.c4n"))
    for index, row in enumerate(rows):
        source: str | Path = MODEL
        if row.name != DENSE:
            source = row.artifact.with_suffix("")
            recipe = Recipe(removed=row.removed, dtype=row.dtype, samples=samples)
            with stage(f"pruning {row.name} ({index} of {len(VARIANTS)})") as bar:
                prune(MODEL, source, recipe, progress=bar, overwrite=True, dense_export=False)
        with stage(f"compiling {row.name}") as bar:
            compile_model(source, row.artifact, progress=bar, overwrite=True)
    return rows


def evaluate(rows: list[Row], windows: int) -> None:
    """Measure the perplexity of each model on a part of the embedded text."""
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.evaluate import evaluate_text
    from tvm_c4n.runtime.engine import Engine
    from tvm_c4n.runtime.generate import generate

    for row in rows:
        with stage(f"perplexity of {row.name}") as bar:
            row.engine = Engine.load(row.artifact, threads=os.cpu_count())
            row.evaluation = evaluate_text(
                row.engine, VALID_TEXT, max_windows=windows, progress=bar
            )
        row.text = "".join(generate(row.engine, PROMPT, 40))


def measure(rows: list[Row], args: argparse.Namespace) -> None:
    """Measure the speed of all models in turns."""
    from tvm_c4n.runtime import bench

    threads = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
    with stage("tokens per second, all models in turns") as bar:
        cells = bench.measure(
            [row.ready for row in rows],
            threads=threads,
            n_prompt=args.n_prompt,
            n_gen=args.n_gen,
            reps=args.reps,
            progress=bar,
        )
    for row in rows:
        row.cells = tuple(cell for cell in cells if cell.model is row.engine)


def show(rows: list[Row], took: float) -> None:
    """Print the table, and what each model makes of the prompt."""
    from tvm_c4n.runtime.describe import cpu_name

    heads = [f"{cell.test} t={cell.threads}" for cell in rows[0].cells]
    lines = []
    for row in rows:
        assert row.evaluation is not None  # noqa: S101
        found = row.evaluation.perplexity
        speeds = [f"{cell.avg_ts:.0f} ± {cell.stddev_ts:.0f}" for cell in row.cells]
        size = f"{row.ready.manifest.weight_bytes / 1e6:.2f}"
        lines.append([row.name, size, f"{found.value:.2f} ± {found.stderr:.2f}", *speeds])
    print()
    head = [f"{MODEL}", "packed MB", "perplexity", *heads]
    print_table(f"{cpu_name()}, {os.cpu_count()} cores; pp and tg in tokens/s", head, lines)
    windows = rows[0].evaluation.perplexity if rows[0].evaluation else None
    print(
        "\nn of every 4 weights of in_proj and out_proj are removed: n=0 none, n=3 keeps 25 %.\n"
        f"Perplexity on {windows.tokens if windows else 0} tokens; its ± is mostly that of the "
        "text, which is the same for all rows.\n"
    )
    print(f"{PROMPT!r} goes on, most likely token first:")
    for row in rows:
        print(f"  {row.name:8} {' '.join(row.text.split())}")
    print(f"\n{took:.0f} s. Models, artifacts and demo.json are in {rows[0].artifact.parent}.")


def as_json(rows: list[Row], args: argparse.Namespace, took: float) -> dict[str, Any]:
    """Describe the run and its results."""
    from tvm_c4n import __version__
    from tvm_c4n.runtime import bench
    from tvm_c4n.runtime.describe import cpu_name

    settings = {key: value for key, value in vars(args).items() if key not in ("out", "save")}
    models = []
    for row in rows:
        assert row.evaluation is not None  # noqa: S101
        cells = [bench.as_json(cell) for cell in row.cells]
        for cell in cells:
            cell["model_filename"] = row.artifact.name  # not where this machine keeps it
        found = row.evaluation.perplexity
        models.append(
            {
                "name": row.name,
                "removed": row.removed,
                "dtype": row.dtype,
                "packed_bytes": row.ready.manifest.weight_bytes,
                "ppl": found.value,
                "ppl_stderr": found.stderr,
                "ppl_tokens": found.tokens,
                "bits_per_byte": row.evaluation.bits_per_byte,
                "bench": cells,
            }
        )
    return {
        "command": "make demo",
        "version": __version__,
        "cpu_info": cpu_name(),
        "cores": os.cpu_count(),
        "settings": settings,
        "run_secs": round(took, 1),
        "models": models,
    }


def write(file: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


class stage(ProgressBar):
    """A progress bar; where there is no terminal, a line when the stage is over."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._title, self._began = title, perf_counter()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if error[0] is None:
            print(f"{self._title}: {perf_counter() - self._began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
