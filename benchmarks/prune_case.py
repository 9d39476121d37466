"""One case of the pruning benchmark: prune one way and measure the model's perplexity.

A row is a dict: the case (what was pruned how, validated on what) and its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tvm_c4n.assets import VALID_TEXT
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.describe import cpu_name

if TYPE_CHECKING:
    from tvm_c4n.pruning import Recipe, Report

_CASE = ("model", "samples", "sample_tokens", "windows", "method", "removed", "sparsity")
_CASE += ("megabytes", "allocation", "dtype", "without", "rotate", "repair")
_CASE += ("seed", "scale_group")
# Windows that are judged together: more need more memory, fewer more steps.
AT_A_TIME, ON_A_GPU = 16, 64
Row = dict[str, Any]


def case_of(row: Row) -> Row:
    """Return the part of a row that says what was measured.

    Old rows: not rotated, not trained; those without seed or scale group have the recipe's.
    """
    return {"rotate": False, "repair": 0} | {name: row[name] for name in _CASE if name in row}


def measure(
    case: Row, threads: int | None = None, device: str = "cpu", texts: Sequence[Path] = ()
) -> Row:
    """Prune as a case says and measure; for method "dense", measure the model as it is.

    Parameters
    ----------
    case : dict
    threads : int, optional
        Threads of torch; its own choice by default.
    device : str
        Where to prune and to judge.
    texts : list of path
        Texts that are judged whole, beside the windows of the bundled one; ``texts`` of the row has
        their perplexities.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    host = {"processor": cpu_name(), "threads": torch.get_num_threads()}
    if device != "cpu":
        host["device"] = torch.cuda.get_device_name(device)

    def judged(model: str) -> Row:
        found: Row = {"ppl": torch_perplexity(model, VALID_TEXT, case["windows"], device)}
        kinds = {text.stem: torch_perplexity(model, text, None, device) for text in texts}
        return found | ({"texts": kinds} if kinds else {})

    if case["method"] == "dense":
        return case | judged(case["model"]) | host
    named = ("removed", "sparsity", "megabytes", "method", "dtype")
    title = " ".join(str(case[k]) for k in named if k in case)
    with TemporaryDirectory() as folder, ProgressBar(title) as bar:
        from tvm_c4n.pruning import Budget
        from tvm_c4n.pruning.run import prune

        recipe, predicted = _recipe(case, device)
        size = case.get("megabytes")
        out = f"{folder}/out"
        report = prune(
            case["model"], out, recipe,
            budget=Budget("size", size * 1e6) if size else None,
            progress=bar, dense_export=False, device=device,
        )  # fmt: skip
        found = judged(out)
    return case | found | predicted | _figures(report) | host


def _recipe(case: Row, device: str) -> tuple[Recipe, Row]:
    """Make the recipe of a case, and what an allocation predicts of it."""
    from tvm_c4n.pruning.recipe import Recipe

    names = ("removed", "dtype", "method", "without", "samples", "sample_tokens")
    names += ("rotate", "repair", "seed", "scale_group")
    recipe = Recipe(**{name: case[name] for name in names if name in case})
    if "sparsity" not in case:
        return recipe, {}
    from tvm_c4n.pruning.allocation.allocate import allocate
    from tvm_c4n.pruning.allocation.budget import Budget, recipe_of
    from tvm_c4n.pruning.session import Session

    session = Session.open(case["model"], recipe, device=device)
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


def torch_perplexity(
    model: str, text: Path, windows: int | None = None, device: str = "cpu"
) -> float:
    """Measure the perplexity of a model folder in torch, by the protocol of `perplexity`.

    Parameters
    ----------
    model : str
    text : path
    windows : int, optional
        At most so many, spread evenly.
    device : str
    """
    import numpy as np
    import torch
    import torch.nn.functional as F

    from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
    from tvm_c4n.evaluate import load_text_ids
    from tvm_c4n.evaluate.perplexity import WINDOW_TOKENS, window_starts
    from tvm_c4n.model.tokenizer import load_tokenizer
    from tvm_c4n.pruning.calibration.layer import logits

    source = open_checkpoint(model)
    loaded = ArrayCheckpoint(source.config, {name: source.dense(name) for name in source.names()})
    ids = load_text_ids(text, load_tokenizer(source.path)).astype(np.int64)
    if len(ids) < WINDOW_TOKENS:
        raise C4nError(
            f"{text}: shorter than a window of {WINDOW_TOKENS} tokens; give a longer text"
        )
    starts = np.array(window_starts(len(ids), WINDOW_TOKENS, windows))
    targets = ids[starts[:, None] + np.arange(WINDOW_TOKENS)]
    total = 0.0
    together = AT_A_TIME if device == "cpu" else ON_A_GPU
    for part in np.array_split(targets, -(-len(targets) // together)):
        inputs = np.pad(part[:, :-1], ((0, 0), (1, 0)))  # each starts with the separator
        with torch.no_grad():
            said = logits(loaded, inputs, torch.device(device))
            wanted = torch.from_numpy(part).to(said.device)
            total += F.cross_entropy(said.flatten(0, 1), wanted.flatten(), reduction="sum").item()
    return exp(total / targets.size)
