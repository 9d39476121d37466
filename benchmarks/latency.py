"""How well a latency table predicts decode: models of several patterns, predicted and measured.

    tvm-c4n tune mamba-19m --latency-table --local --threads 2 --records DIR
    python -m benchmarks.latency DIR MODEL... --out FILE

The models are compiled with the kernels that the table has measured, and measured in turns.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.machine import Others
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.cli.console import ProgressBar, print_table
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.compile.records import MANIFEST
from tvm_c4n.model.config import EMBEDDINGS, MambaConfig
from tvm_c4n.pruning.allocation.latency import LatencyTable
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.runtime.bench import measure
from tvm_c4n.runtime.describe import cpu_name
from tvm_c4n.runtime.engine import Engine


def latency(
    records: Annotated[Path, typer.Argument(help="Folder with latency.json.")],
    models: Annotated[list[str], typer.Argument(help="C4n or Hugging Face folders, or names.")],
    out: Annotated[Path, typer.Option(help="Gets every sample, as JSON.")],
    rounds: Annotated[int, typer.Option("--rounds", "-r", min=1)] = 7,
    n_gen: int = 64,
) -> None:
    """Predict and measure a decode step of each model."""
    table = LatencyTable.read(records)
    given = records if (records / MANIFEST).is_file() else None
    with tempfile.TemporaryDirectory() as folder, ProgressBar("measuring") as bar:
        engines = []
        for index, model in enumerate(models):
            bar(f"compiling {model}", index, len(models))
            compile_model(model, Path(folder, str(index)), records=given)
            engines.append(Engine.load(Path(folder, str(index)), threads=table.threads))
        with Others() as others:
            cells = measure(
                engines,
                threads=[table.threads],
                n_prompt=0,
                n_gen=n_gen,
                reps=rounds,
                progress=bar,
            )
    rows = []
    for model, cell in zip(models, cells, strict=True):
        micros = [round(ns / n_gen / 1e3, 2) for ns in cell.samples_ns]
        predicted = round(predict(model, table) * 1e6, 2)
        error = round(predicted / median(micros) - 1, 4)
        rows.append(
            {"model": Path(model).name, "predicted": predicted, "error": error, "micros": micros}
        )
    about = {"cpu": cpu_name(), "threads": table.threads, "others": others.cores}
    content = {
        **about,
        "n_gen": n_gen,
        "models": rows,
        "table": json.loads(table.model_dump_json()),
    }
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    head = ["model", "predicted us", "measured us", "error"]
    shown = [
        [
            str(row["model"]),
            f"{row['predicted']:.0f}",
            f"{median(cell.samples_ns) / n_gen / 1e3:.0f}",
            f"{100 * float(str(row['error'])):+.1f} %",
        ]
        for row, cell in zip(rows, cells, strict=True)
    ]
    print_table(f"{cpu_name()}, {table.threads} threads, a decode step", head, shown)


def predict(model: str, table: LatencyTable) -> float:
    """Return the seconds of a decode step by a table.

    Raises
    ------
    KeyError
        A layer that the table has not.
    """
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    total = table.outside(config)
    for name in Recipe(removed=0).plan(config):
        if name == EMBEDDINGS and not config.tie_embeddings:
            continue
        weight = checkpoint.weight(name)
        choice = Choice(weight.removed, weight.dtype) if weight else Choice(0, "float16")
        rows, cols = config.tensor_shapes()[name]
        found = table.seconds(rows, cols, choice)
        if found is None:
            raise KeyError(f"{name}: {rows} x {cols}, {choice}")
        total += found
    return total


if __name__ == "__main__":
    typer.run(latency)
