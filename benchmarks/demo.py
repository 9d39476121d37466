"""`make demo` and `make demo-full`: text, a prune, a compilation, and a table of what it brings."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from benchmarks.demo_table import (
    DENSE,
    PROMPT,
    Bundled,
    Pruned,
    Row,
    Stage,
    as_json,
    as_markdown,
    make,
    measure,
    print_result,
)
from benchmarks.options import Save
from benchmarks.results import place, write_result
from tvm_c4n.runtime.describe import cpu_name

HEALED = {
    "30 % int4, healed": "s30-int4",
    "mixture, healed": "mixed",
    "n=2 int4, healed": "n2-int4",
}

Folder = Annotated[Path, typer.Option("--out", help="Folder of the models that are pruned.")]
Windows = Annotated[int, typer.Option(help="Windows of 1024 tokens for the perplexity.")]
Reps = Annotated[int, typer.Option(help="Rounds of the speed measurement.")]
Show = Annotated[
    Path | None, typer.Option(help="Measure nothing: print a saved result as Markdown.")
]


def demo(
    out: Folder = Path("build/demo"),
    samples: Annotated[int, typer.Option(help="Calibration windows of the prune.")] = 16,
    windows: Windows = 8,
    reps: Reps = 5,
    save: Save = False,
    show: Show = None,
) -> None:
    """Generate text, prune and compile a model, and print one table; under 3 minutes on 2 cores."""
    if show is not None:
        print(as_markdown(json.loads(show.read_text("utf-8"))))
        return
    from tvm_c4n import Recipe

    began = perf_counter()
    write_text("mamba-19m-n2-int4")
    nearest = Recipe(removed=0, dtype="int4", method="magnitude", samples=1)
    one_shot = Recipe(removed=2, dtype="int4", samples=samples)
    rows = [
        Row("float16, dense", Bundled(DENSE)),
        Row("int4, dense", Pruned(out / "int4-dense", nearest)),
        *(Row(name, Bundled(f"{DENSE}-{kind}")) for name, kind in HEALED.items()),
        Row("n=2 int4, one-shot", Pruned(out / "n2-int4", one_shot)),
    ]
    settings = {"samples": samples, "windows": windows, "reps": reps}
    secs = _measure(rows, [min(2, os.cpu_count() or 1)], settings, place("demo.json", save), began)
    print(
        "\nn of every 4 weights of in_proj and out_proj are removed; 30 %: n by weight;\n"
        "mixture: n and bits by weight, for the least loss in 8.6 MB.\n"
        "int4, dense: rounded to nearest just now. healed: bundled models, trained on a\n"
        f"GPU with their masks fixed. one-shot: pruned just now, {samples} calibration windows.\n"
        f"Perplexity on {windows} windows of 1024 tokens. All of it took {secs:.0f} s."
    )


def demo_full(
    out: Folder = Path("build/demo-full"),
    samples: Annotated[int, typer.Option(help="Calibration windows of each prune.")] = 48,
    windows: Windows = 12,
    reps: Reps = 5,
    save: Save = False,
) -> None:
    """Prune the bundled model eight ways, n = 0 to 3 in int8 and int4, and print one table."""
    from tvm_c4n import Recipe

    began = perf_counter()
    rows = [Row("float16", Bundled(DENSE))]
    for n, dtype in ((n, dtype) for n in (0, 1, 2, 3) for dtype in ("int8", "int4")):
        recipe = Recipe(removed=n, dtype=dtype, samples=samples)
        rows.append(Row(f"n={n} {dtype}", Pruned(out / f"n{n}-{dtype}", recipe)))
    settings = {"samples": samples, "windows": windows, "reps": reps}
    threads = sorted({1, min(2, os.cpu_count() or 1)})
    secs = _measure(rows, threads, settings, place("demo-full.json", save), began)
    print(f"\n{secs:.0f} s. The models are in {out}.")


def write_text(name: str) -> None:
    """Print text from a bundled model while it is generated."""
    from tvm_c4n.runtime.generate import generate

    with Stage(f"compiling {name}"):
        engine = Bundled(name).load()
    print(PROMPT, end="", flush=True)
    for piece in generate(engine, PROMPT, 60, temperature=0.8, seed=1):
        print(piece, end="", flush=True)
    print("\n")
    sys.stdout.flush()


def _measure(
    rows: list[Row], threads: list[int], settings: dict[str, int], file: Path, began: float
) -> float:
    """Make and measure rows, write and print them; returns the seconds since all began."""
    make(rows)
    measure(rows, settings["windows"], threads, settings["reps"])
    result = as_json(rows, settings, perf_counter() - began)
    write_result(file, result)
    said = f"{cpu_name()}, threads: {' and '.join(map(str, threads))}"
    print()
    print_result(result, f"{said}; pp512 (prompt), tg128 (generation) in tokens/s")
    return float(result["secs"])
