"""Prune a model folder: to a recipe, or to a target that a recipe is made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from torch import Tensor

from tvm_c4n import __version__
from tvm_c4n.assets import CALIBRATION
from tvm_c4n.checkpoint import C4nWriter, Checkpoint, export_dense, open_checkpoint
from tvm_c4n.model.config import MambaConfig
from tvm_c4n.model.text import load_tokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allot import Allotment, allot, mean_loss
from tvm_c4n.pruning.calibrate import draw_windows
from tvm_c4n.pruning.journal import Journal, fingerprint
from tvm_c4n.pruning.plots import draw
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.pruning.report import Report
from tvm_c4n.pruning.sensitivity import Sensitivity, measure
from tvm_c4n.pruning.sweep import Sweep, as_stored
from tvm_c4n.pruning.target import Target

# Windows that a perplexity ratio is judged by, drawn with those of calibration but not among them.
JUDGES = 16
PRODUCER = {"name": "tvm-c4n", "version": __version__}


def prune(
    model: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    target: Target | None = None,
    calibration: str | Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    twin: bool = True,
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
    target : Target, optional
        Choose n, and unless it is a sparsity the dtype too, of every weight so that this is met
        with the least loss; ``out/allocation.json`` says how, and what else could have been, with
        pictures beside it where matplotlib is installed.
    calibration : path, optional
        Text to calibrate with (.jsonl or plain); the package's own by default.
    progress : callable, optional
        ``progress(what, done, total)`` after each step.
    overwrite : bool
        Replace an existing C4n folder.
    twin : bool
        Also write ``out/dense``, the same weights as a Hugging Face folder in float16.
    resume : path, optional
        Keep sensitivities and finished layers in this folder, and go on after those that a run that
        was stopped left there. Removed when the model is written.

    Returns
    -------
    Report
        Also written to ``out/report.json``.

    Raises
    ------
    RecipeError
        The recipe does not fit the model, the target is out of reach, or the calibration text does
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
            journal = Journal(Path(resume), fingerprint(checkpoint, recipe, windows, target))
        if target is not None:
            allotment = allot_for(
                model, recipe, target, calibration=calibration, progress=progress, journal=journal
            )
            recipe = allotment.recipe
            writer.add_json("allocation.json", allotment.as_json())
            draw(allotment, config, writer.folder)
        sweep = Sweep(checkpoint, config, recipe, recipe.plan(config), writer, progress)
        rows = sweep.all(windows, journal)
        writer.copy_extra(checkpoint)
        sealed = writer.seal()
        if twin:
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


def allot_for(
    model: str | Path,
    recipe: Recipe,
    target: Target,
    *,
    calibration: str | Path | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> Allotment:
    """Make the recipe for a target, and say what else could have been.

    Parameters and errors as `prune`; a journal keeps the sensitivities, which take longest. A
    perplexity ratio is measured, by pruning, on calibration
    text that is not calibrated with; all other targets are met without pruning the model.
    """
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    config.check(checkpoint)
    recipe.plan(config)
    text = None if calibration is None else Path(calibration)
    tokenizer = load_tokenizer(checkpoint.path)
    windows = torch.from_numpy(draw_windows(tokenizer, recipe, text))
    judges = windows[:0]
    if target.kind == "ppl_ratio":
        more = recipe.model_copy(update={"samples": recipe.samples + JUDGES})
        judges = torch.from_numpy(draw_windows(tokenizer, more, text))[recipe.samples :]

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
        return _allot(checkpoint, config, recipe, target, windows, judges, sensitivities, progress)


def _allot(
    checkpoint: Checkpoint,
    config: MambaConfig,
    recipe: Recipe,
    target: Target,
    windows: Tensor,
    judges: Tensor,
    sensitivities: Mapping[str, Sensitivity],
    progress: Progress | None,
) -> Allotment:
    """Make the recipe for a target; a perplexity ratio is measured on the windows ``judges``."""
    packed = recipe.plan(config)
    small = (name for name in config.tensor_shapes() if name not in packed)
    dense_loss = mean_loss(checkpoint, judges) if len(judges) else 0.0

    def try_out(trial: Recipe) -> float:
        with TemporaryDirectory() as folder, C4nWriter(Path(folder) / "trial") as writer:
            Sweep(checkpoint, config, trial, trial.plan(config), writer, progress).all(windows)
            writer.copy_extra(checkpoint)
            return mean_loss(writer.seal(), judges) - dense_loss

    return allot(
        config,
        recipe,
        target,
        sensitivities,
        small_bytes=sum(as_stored(checkpoint.dense(name)).nbytes for name in small),
        try_out=try_out,
    )


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
