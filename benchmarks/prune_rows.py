"""One row of the pruning benchmark: prune one way, judge the model, keep the figures.

A row is a dict: the case (what was pruned how, judged by what) and its figures. Rows of all cases
lie in benchmarks/results/pruning.json; a case that is there is not measured again.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.model.config import PROJECTIONS

if TYPE_CHECKING:
    from tvm_c4n.pruning import Recipe, Report

RESULTS = Path(__file__).parent / "results" / "pruning.json"
# What makes a case; the order is that of the file's rows.
CASE = (
    "model",
    "samples",
    "sample_tokens",
    "windows",
    "method",
    "removed",
    "sparsity",
    "allocation",
    "dtype",
    "without",
)
Row = dict[str, Any]


def saved() -> list[Row]:
    """Read the rows of earlier calls."""
    rows: list[Row] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else []
    return rows


def remembered(case: Row) -> Row | None:
    """Return the row of a case if there is one."""
    return next((row for row in saved() if _case(row) == case), None)


def keep(row: Row) -> Row:
    """Put a row into the file, in place of an older one of the same case."""
    RESULTS.parent.mkdir(exist_ok=True)
    with _alone():
        rows = [old for old in saved() if _case(old) != _case(row)]
        rows = sorted([*rows, row], key=lambda r: json.dumps([r.get(name, "") for name in CASE]))
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return row


def _case(row: Row) -> Row:
    return {name: row[name] for name in CASE if name in row}


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other calls of the benchmark from writing at the same time."""
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def measure(case: Row, threads: int | None = None) -> Row:
    """Prune as a case says and measure; for "dense", measure the model as it is.

    Parameters
    ----------
    case : dict
        Fields of `CASE`.
    threads : int, optional
        Of torch; its own choice by default.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    host = {"processor": _processor(), "threads": torch.get_num_threads()}
    if case["method"] == "dense":
        return case | {"ppl": judge(case["model"], case["windows"])} | host
    title = " ".join(str(case[k]) for k in ("removed", "sparsity", "method", "dtype") if k in case)
    with TemporaryDirectory() as folder, ProgressBar(title) as bar:
        from tvm_c4n.pruning.run import prune

        recipe, predicted = _recipe(case)
        report = prune(case["model"], f"{folder}/out", recipe, progress=bar, dense_export=False)
        ppl = judge(f"{folder}/out", case["windows"])
    return case | {"ppl": ppl} | predicted | _figures(report) | host


def _recipe(case: Row) -> tuple[Recipe, Row]:
    """Make the recipe of a case, and what an allocation predicts of it."""
    from tvm_c4n.pruning.recipe import Recipe

    names = ("removed", "dtype", "method", "without", "samples", "sample_tokens")
    recipe = Recipe(**{name: case[name] for name in names if name in case})
    if "sparsity" not in case:
        return recipe, {}
    from tvm_c4n.pruning.allocation.budget import Budget, recipe_of
    from tvm_c4n.pruning.run import allocate_for

    found = allocate_for(case["model"], recipe, Budget("sparsity", case["sparsity"]))
    allocation = {"exact": found.chosen, "greedy": found.greedy, "uniform": found.uniform}[
        case["allocation"]
    ]
    assert allocation is not None  # noqa: S101  (half and quarter are uniform n = 2 and n = 1)
    return recipe_of(recipe, allocation.choices), {
        "predicted_loss": allocation.loss,
        "kept": allocation.cost,
    }


def _figures(report: Report) -> Row:
    kinds = ("in_proj", "out_proj")
    return {
        "output_error": {kind: report.mean_error(kind) for kind in kinds},
        "masked_error": {kind: report.mean_error(kind, "masked_error") for kind in kinds},
        "packed_bytes": report.packed_bytes,
        "removed_by_layer": {
            kind: " ".join(str(r.removed) for r in report.projections if r.projection == kind)
            for kind in PROJECTIONS
        },
        "run_secs": report.run_secs,
    }


def judge(model: str, windows: int) -> float:
    """Measure the perplexity of a model folder in torch, on windows of the embedded text."""
    import torch

    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
    from tvm_c4n.evaluate import load_text_ids, perplexity
    from tvm_c4n.model.text import load_tokenizer
    from tvm_c4n.pruning.calibration.torch_mamba import logits

    source = open_checkpoint(model)
    ids = load_text_ids(VALID_TEXT, load_tokenizer(source.path))
    loaded = ArrayCheckpoint(source.config, {name: source.dense(name) for name in source.names()})
    with torch.no_grad():
        found = perplexity(
            lambda window: logits(loaded, window[None])[0].numpy(), ids, max_windows=windows
        )
    return found.value


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "?")
