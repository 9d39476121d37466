"""How well a latency table predicts: models of several patterns, predicted and measured.

    tvm-c4n tune mamba-19m --records DIR --latency-table --local --threads 2
    python -m benchmarks latency DIR MODEL...

The models are compiled with the kernels that the table has measured, and measured in turns: a
prompt of 512 tokens, 128 generated ones, and the sum of both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.options import Rounds, Save
from benchmarks.report import markdown
from benchmarks.results import place, write_result
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.compile.records import MANIFEST
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.allocation.latency import LatencyTable, Workload
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.runtime.bench import measure
from tvm_c4n.tuning.reference_model import FixedThreads

DENSE = Choice(0, "float16")
N_PROMPT, N_GEN = 512, 128
WORKLOADS = [Workload(0, N_GEN), Workload(N_PROMPT, 0), Workload(N_PROMPT, N_GEN)]


def latency(
    records: Annotated[Path, typer.Argument(help="Folder with latency.json.")],
    models: Annotated[list[str], typer.Argument(help="C4n or Hugging Face folders, or names.")],
    rounds: Rounds = 7,
    save: Save = False,
) -> None:
    """Predict and measure a prompt and generation of each model."""
    table = LatencyTable.read(records)
    given = records if (records / MANIFEST).is_file() else None
    with tempfile.TemporaryDirectory() as folder, ProgressBar("measuring") as bar:
        engines = []
        for index, model in enumerate(models):
            bar(f"compiling {model}", index, len(models))
            compile_model(model, Path(folder, str(index)), records=given)
            engines.append(FixedThreads.load(Path(folder, str(index)), threads=table.threads))
        cells = measure(
            engines,
            threads=[table.threads],
            n_prompt=N_PROMPT,
            n_gen=N_GEN,
            reps=rounds,
            progress=bar,
        )
    found = [
        {
            "model": Path(model).name,
            "predicted_ms": [1e3 * predict(model, table, workload) for workload in WORKLOADS],
            "prompt_ns": prompt.samples_ns,
            "generated_ns": generated.samples_ns,
        }
        for model, prompt, generated in zip(models, cells[::2], cells[1::2], strict=True)
    ]
    result = {"others_cores": cells[0].others_cores, "models": found}
    content = {**result, "table": table.model_dump(mode="json", by_alias=True, exclude_none=True)}
    write_result(place("latency.json", save), content)
    print(errors_table(found))


def predict(model: str | Path, table: LatencyTable, workload: Workload) -> float:
    """Return the seconds that a table has for a stored model.

    A matrix that only a rotated model has is left out, as tables do not have it.

    Raises
    ------
    RecipeError
        A layer that the table has not.
    """
    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    choices = {}
    for name in config.weights():
        weight = checkpoint.weight(name)
        if name != config.head_map:
            choices[name] = Choice.of(weight.removed, weight.dtype) if weight else DENSE
    return table.whole(config, choices, workload)


def errors_table(found: list[dict[str, Any]]) -> str:
    """Lay out milliseconds, predicted and measured, and the error, for each model and workload."""
    rows = []
    for one in found:
        prompt, generated = (median(one[key]) / 1e6 for key in ("prompt_ns", "generated_ns"))
        for workload, predicted in zip(WORKLOADS, one["predicted_ms"], strict=True):
            took = bool(workload.prompt) * prompt + bool(workload.generated) * generated
            error = f"{100 * (predicted / took - 1):+.1f} %"
            rows.append([one["model"], str(workload), f"{predicted:.2f}", f"{took:.2f}", error])
    return markdown(["model", "", "predicted ms", "measured ms", "error"], rows)
