"""One case of the pruning benchmark: prune one way and measure the model's perplexity.

A row is a dict: the case (what was pruned how, validated on what) and its figures.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.runtime.describe import cpu_name

if TYPE_CHECKING:
    from tvm_c4n.pruning import Recipe, Report

_CASE = ("model", "samples", "sample_tokens", "windows", "method", "removed", "sparsity")
_CASE += ("allocation", "dtype", "without", "rotate", "repair")
Row = dict[str, Any]


def case_of(row: Row) -> Row:
    """Return the part of a row that says what was measured; old rows: not rotated, not trained."""
    return {"rotate": False, "repair": 0} | {name: row[name] for name in _CASE if name in row}


def measure(case: Row, threads: int | None = None) -> Row:
    """Prune as a case says and measure; for method "dense", measure the model as it is.

    Parameters
    ----------
    case : dict
    threads : int, optional
        Threads of torch; its own choice by default.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    host = {"processor": cpu_name(), "threads": torch.get_num_threads()}
    if case["method"] == "dense":
        return case | {"ppl": torch_perplexity(case["model"], case["windows"])} | host
    title = " ".join(str(case[k]) for k in ("removed", "sparsity", "method", "dtype") if k in case)
    with TemporaryDirectory() as folder, ProgressBar(title) as bar:
        from tvm_c4n.pruning.run import prune

        recipe, predicted = _recipe(case)
        report = prune(case["model"], f"{folder}/out", recipe, progress=bar, dense_export=False)
        ppl = torch_perplexity(f"{folder}/out", case["windows"])
    return case | {"ppl": ppl} | predicted | _figures(report) | host


def _recipe(case: Row) -> tuple[Recipe, Row]:
    """Make the recipe of a case, and what an allocation predicts of it."""
    from tvm_c4n.pruning.recipe import Recipe

    names = ("removed", "dtype", "method", "without", "samples", "sample_tokens")
    names += ("rotate", "repair")
    recipe = Recipe(**{name: case[name] for name in names if name in case})
    if "sparsity" not in case:
        return recipe, {}
    from tvm_c4n.pruning.allocation.allocate import allocate
    from tvm_c4n.pruning.allocation.budget import Budget, recipe_of
    from tvm_c4n.pruning.session import Session

    session = Session.open(case["model"], recipe)
    found = allocate(session, Budget("sparsity", case["sparsity"]))
    allocation = {"exact": found.chosen, "greedy": found.greedy, "uniform": found.uniform}[
        case["allocation"]
    ]
    assert allocation is not None  # noqa: S101  (half and quarter are uniform n = 2 and n = 1)
    predicted = {"predicted_loss": allocation.loss, "kept": allocation.cost}
    return recipe_of(session.config, recipe, allocation.choices), predicted


def _figures(report: Report) -> Row:
    kinds = ("in_proj", "out_proj")
    return {
        "output_error": {kind: report.mean_error(kind) for kind in kinds},
        "masked_error": {kind: report.mean_error(kind, "masked_error") for kind in kinds},
        "packed_bytes": report.packed_bytes,
        "removed_by_layer": {
            kind: " ".join(str(r.removed) for r in report.projections if r.projection == kind)
            for kind in dict.fromkeys(p.projection for p in report.projections)
        },
        "run_secs": report.run_secs,
    }


def torch_perplexity(model: str, windows: int) -> float:
    """Measure the perplexity of a model folder in torch, on windows of the bundled text."""
    import torch

    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
    from tvm_c4n.evaluate import load_text_ids, perplexity
    from tvm_c4n.model.tokenizer import load_tokenizer
    from tvm_c4n.pruning.calibration.layer import logits

    source = open_checkpoint(model)
    ids = load_text_ids(VALID_TEXT, load_tokenizer(source.path))
    loaded = ArrayCheckpoint(source.config, {name: source.dense(name) for name in source.names()})
    with torch.no_grad():
        found = perplexity(
            lambda window: logits(loaded, window[None])[0].numpy(), ids, max_windows=windows
        )
    return found.value
