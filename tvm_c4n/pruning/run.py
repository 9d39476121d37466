"""Prune a model folder: to a recipe, or to a budget that a recipe is made for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from tvm_c4n._deprecation import renamed_keywords
from tvm_c4n._version import __version__
from tvm_c4n.checkpoint import C4nWriter, export_dense
from tvm_c4n.checkpoint.model_card import Base, base_of
from tvm_c4n.errors import RecipeError
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.allocate import allocate, allocation_steps
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.plots import draw
from tvm_c4n.pruning.card import pruning_card
from tvm_c4n.pruning.devices import MEMORY_REMEDY
from tvm_c4n.pruning.driver import PrunedModel, prune_into, pruning_steps
from tvm_c4n.pruning.recipe import Recipe, needs_calibration
from tvm_c4n.pruning.report import Report
from tvm_c4n.pruning.resume import NothingKept, ResumeFolder, Store, fingerprint
from tvm_c4n.pruning.session import Session
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.torch_blocks.device import memory_errors

# Steps between two states that the scan of a GPU keeps (`tvm_c4n.healing.triton_scan`).
SCAN_STEPS = 4
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
    device: str = "cpu",
) -> Report:
    """Prune a model and write a C4n folder.

    Layers are pruned in order, the projections of a layer in the order in which activations pass
    them; the statistics of each come from activations that the pruned weights before it produced.
    One layer's weights are in memory at a time, and the activations of all calibration windows.

    Parameters
    ----------
    model : str or Path
        A Hugging Face folder, a C4n folder, the name of an embedded model, or ``org/name`` (or
        ``org/name@revision``) of a hub.
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
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``: where layers and activations are worked on. The
        weights differ in their last digits.

    Returns
    -------
    Report
        Also written to ``out/report.json``.

    Raises
    ------
    RecipeError
        The recipe does not fit the model, the budget is out of reach, the calibration text does
        not serve, or there is no such device.
    CheckpointError
        The model is damaged or not supported, or ``out`` cannot be written.
    C4nError
        The memory of the device is too small.
    """
    began = perf_counter()
    session = Session.open(model, recipe, calibration, progress, device)
    _check_repair(session, budget)
    if budget is not None:
        session = replace(session, recipe=budget.decided(session.recipe, session.config))
    config, chosen = session.config, session.recipe
    steps = pruning_steps(config, chosen) + 1  # and writing
    steps += allocation_steps(config, budget, chosen) if budget else 0
    note = StepCounter(steps, progress)
    with (
        C4nWriter(out, overwrite=overwrite, producer=PRODUCER) as writer,
        torch.no_grad(),
        memory_errors(session.device, MEMORY_REMEDY),
    ):
        store = _store(session, budget, resume)
        if budget is not None:
            allocation = allocate(session, budget, store=store, note=note)
            chosen = allocation.recipe
            writer.add_json("allocation.json", allocation.as_json())
            draw(allocation, config, writer.folder)
        chosen = chosen.model_copy(update={"rotate": chosen.rotates(config)})
        pruned = prune_into(writer, session, chosen, store, note)
        sealed = writer.seal()
        if dense_export:
            export_dense(sealed, writer.folder / "dense")
        note("written")
        base = base_of(session.checkpoint.path)
        report = _report(session, base, chosen, pruned, writer.folder, perf_counter() - began)
        writer.add_json("report.json", report.model_dump(mode="json"))
        card = pruning_card(
            report,
            base,
            sealed,
            own_text=calibration is not None,
            dense_export=dense_export,
        )
        writer.add_card(card)
    store.remove()
    return report


def _check_repair(session: Session, budget: Budget | None) -> None:
    """Raise RecipeError where layers are to be trained that cannot be, or are not calibrated."""
    recipe = session.recipe
    if recipe.repair and session.device.type == "cuda" and recipe.sample_tokens % SCAN_STEPS:
        raise RecipeError(
            f"repair: on a GPU sample_tokens is a multiple of {SCAN_STEPS}, not "
            f"{recipe.sample_tokens}"
        )
    calibrates = budget is not None or needs_calibration(recipe.plan(session.config))
    if recipe.repair and not calibrates:
        raise RecipeError(
            "repair: the recipe removes nothing and leaves 8 bits or more, which is rounded "
            "without calibration; set repair to 0"
        )


def _store(session: Session, budget: Budget | None, resume: str | Path | None) -> Store:
    """Open the folder to resume from, or the store that keeps nothing."""
    if resume is None:
        return NothingKept()
    return ResumeFolder(Path(resume), fingerprint(session, budget))


def _report(
    session: Session,
    base: Base,
    recipe: Recipe,
    pruned: PrunedModel,
    folder: Path,
    run_secs: float,
) -> Report:
    return Report(
        source=base.name,
        revision=base.revision,
        recipe=recipe.model_dump(mode="json"),
        calibration=session.calibration.name,
        projections=tuple(pruned.reports),
        repairs=tuple(pruned.repairs),
        source_bytes=session.checkpoint.size_bytes,
        disk_bytes=_weight_bytes(folder) + (folder / "c4n.json").stat().st_size,
        packed_bytes=pruned.packed_bytes,
        run_secs=round(run_secs, 3),
    )


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
