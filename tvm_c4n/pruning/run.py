"""Prune a model folder: to a recipe, or to a budget that a recipe is made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from torch import Tensor

from tvm_c4n import __version__
from tvm_c4n._deprecation import renamed_keywords
from tvm_c4n.assets import CALIBRATION
from tvm_c4n.checkpoint import C4nWriter, Checkpoint, export_dense, open_checkpoint
from tvm_c4n.model.config import MambaConfig
from tvm_c4n.model.text import load_tokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.allocate import AllocationResult, allocate, mean_loss
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.plots import draw
from tvm_c4n.pruning.allocation.sensitivity import Sensitivity, measure
from tvm_c4n.pruning.calibration.windows import draw_windows
from tvm_c4n.pruning.layerwise import LayerwisePruner, as_stored
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.pruning.report import Report
from tvm_c4n.pruning.resume import Journal, fingerprint

# Windows that a perplexity ratio is judged by, drawn with those of calibration but not among them.
VALIDATION_WINDOWS = 16
PRODUCER = {"name": "tvm-c4n", "version": __version__}


@renamed_keywords(target="budget", twin="dense_export")
def prune(
    model: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    budget: Budget | None = None,
    calibration: str | Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    dense_export: bool = True,
    resume: str | Path | None = None,
) -> Report:
    """Prune a model and write a C4n folder.

    Layers are pruned in order, the projections of a layer in the order in which activations pass
    them; the statistics of each come from activations that the pruned weights before it produced.
    One layer's weights are in memory at a time, and the activations of all calibration windows.

    Parameters
    ----------
    model : str or Path
        A Hugging Face folder, a C4n folder, or the name of an embedded model.
    out : path
        The C4n folder. It appears when everything is done, or not at all.
    recipe : Recipe, optional
    budget : Budget, optional
        Choose n, and unless it is a sparsity the dtype too, of every weight so that this is met
        with the least loss; ``out/allocation.json`` says how, and what else could have been, with
        pictures beside it where matplotlib is installed.
    calibration : path, optional
        Text to calibrate with (.jsonl or plain); the package's own by default.
    progress : callable, optional
        ``progress(what, done, total)`` after each step.
    overwrite : bool
        Replace an existing C4n folder.
    dense_export : bool
        Also write ``out/dense``, the same weights as a Hugging Face folder in float16.
    resume : path, optional
        Keep sensitivities and finished layers in this folder, and resume after those that a
        stopped run left there. Removed when the model is written.

    Returns
    -------
    Report
        Also written to ``out/report.json``.

    Raises
    ------
    RecipeError
        The recipe does not fit the model, the budget is out of reach, or the calibration text does
        not serve.
    CheckpointError
        The model is damaged or not supported, or ``out`` cannot be written.
    """
    began = perf_counter()
    recipe = Recipe() if recipe is None else recipe
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    config.check(checkpoint)
    recipe.plan(config)  # refuses what does not fit before anything is read
    text = None if calibration is None else Path(calibration)
    with C4nWriter(out, overwrite=overwrite, producer=PRODUCER) as writer, torch.no_grad():
        tokenizer = load_tokenizer(checkpoint.path)
        windows = torch.from_numpy(draw_windows(tokenizer, recipe, text))
        journal = None
        if resume is not None:
            journal = Journal(Path(resume), fingerprint(checkpoint, recipe, windows, budget))
        if budget is not None:
            allocation = allocate_for(
                model, recipe, budget, calibration=calibration, progress=progress, journal=journal
            )
            recipe = allocation.recipe
            writer.add_json("allocation.json", allocation.as_json())
            draw(allocation, config, writer.folder)
        sweep = LayerwisePruner(checkpoint, config, recipe, recipe.plan(config), writer, progress)
        rows = sweep.all(windows, journal)
        writer.copy_extra(checkpoint)
        sealed = writer.seal()
        if dense_export:
            export_dense(sealed, writer.folder / "dense")
        sweep.note("written")
        report = Report(
            source=checkpoint.path.resolve().name,
            recipe=recipe.model_dump(mode="json"),
            calibration=(text or CALIBRATION).name,
            projections=tuple(rows),
            source_bytes=_weight_bytes(checkpoint.path),
            disk_bytes=_weight_bytes(writer.folder) + (writer.folder / "c4n.json").stat().st_size,
            packed_bytes=sweep.packed_bytes,
            run_secs=round(perf_counter() - began, 3),
        )
        writer.add_json("report.json", report.model_dump(mode="json"))
    if journal is not None:
        journal.remove()
    return report


def allocate_for(
    model: str | Path,
    recipe: Recipe,
    budget: Budget,
    *,
    calibration: str | Path | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> AllocationResult:
    """Make the recipe for a budget, and say what else could have been.

    Parameters and errors as `prune`; a journal keeps the sensitivities, which take longest. A
    perplexity ratio is measured, by pruning, on calibration
    text that is not calibrated with; all other budgets are met without pruning the model.
    """
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    config.check(checkpoint)
    recipe.plan(config)
    text = None if calibration is None else Path(calibration)
    tokenizer = load_tokenizer(checkpoint.path)
    windows = torch.from_numpy(draw_windows(tokenizer, recipe, text))
    validation = windows[:0]
    if budget.kind == "ppl_ratio":
        more = recipe.model_copy(update={"samples": recipe.samples + VALIDATION_WINDOWS})
        validation = torch.from_numpy(draw_windows(tokenizer, more, text))[recipe.samples :]

    def note(layer: int) -> None:
        if progress is not None:
            progress(f"layer {layer} sensitivity", layer + 1, config.n_layer)

    with torch.no_grad():
        sensitivities = journal.sensitivities() if journal else None
        if sensitivities is None:
            sensitivities = measure(
                checkpoint, config, recipe.model_copy(update={"removed": 0}), windows, note
            )
            if journal:
                journal.keep_sensitivities(sensitivities)
        return _allocate(
            checkpoint, config, recipe, budget, windows, validation, sensitivities, progress
        )


def _allocate(
    checkpoint: Checkpoint,
    config: MambaConfig,
    recipe: Recipe,
    budget: Budget,
    windows: Tensor,
    validation: Tensor,
    sensitivities: Mapping[str, Sensitivity],
    progress: Progress | None,
) -> AllocationResult:
    """Make the recipe for a budget; ``validation`` are the windows of a perplexity ratio."""
    packed = recipe.plan(config)
    small = (name for name in config.tensor_shapes() if name not in packed)
    dense_loss = mean_loss(checkpoint, validation) if len(validation) else 0.0

    def evaluate(trial: Recipe) -> float:
        with TemporaryDirectory() as folder, C4nWriter(Path(folder) / "trial") as writer:
            LayerwisePruner(checkpoint, config, trial, trial.plan(config), writer, progress).all(
                windows
            )
            writer.copy_extra(checkpoint)
            return mean_loss(writer.seal(), validation) - dense_loss

    return allocate(
        config,
        recipe,
        budget,
        sensitivities,
        small_bytes=sum(as_stored(checkpoint.dense(name)).nbytes for name in small),
        evaluate=evaluate,
    )


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
