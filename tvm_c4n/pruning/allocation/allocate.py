"""Allocate: the recipe that meets a budget with the least loss, from the model itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from tvm_c4n.checkpoint import C4nWriter, Checkpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.selection import TRIALS, AllocationResult, select
from tvm_c4n.pruning.allocation.sensitivity import Sensitivity, measure
from tvm_c4n.pruning.calibration.layer import logits
from tvm_c4n.pruning.devices import CPU, MEMORY_REMEDY
from tvm_c4n.pruning.driver import prune_into, pruning_steps
from tvm_c4n.pruning.layerwise import as_stored
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.pruning.resume import NothingKept, Store
from tvm_c4n.pruning.rotation import rotated, rotation_steps
from tvm_c4n.pruning.session import Session
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.torch_blocks.device import memory_errors

# Windows that a perplexity ratio is measured on: of the calibration text, but not calibrated with.
VALIDATION_WINDOWS = 16
# n that sensitivities are measured in a rotation for. The one that the model is pruned in is for
# the n that were chosen.
LIKELY_REMOVED = 1


def allocation_steps(config: ModelConfig, budget: Budget, recipe: Recipe) -> int:
    """Return how many steps `allocate` notes: a rotation, layers, whole prunings for a ratio."""
    trials = TRIALS if budget.kind == "ppl_ratio" else 0
    return rotation_steps(config, recipe) + config.n_layer + trials * pruning_steps(config, recipe)


def allocate(
    session: Session,
    budget: Budget,
    *,
    store: Store | None = None,
    note: StepCounter | None = None,
) -> AllocationResult:
    """Make the recipe for a budget, and say what else could have been.

    A perplexity ratio is measured, by pruning, on calibration text that is not calibrated with;
    all other budgets are met without pruning the model.

    Parameters
    ----------
    session : Session
        Of the model as it is; sensitivities are those of a rotated one, where it is going to be.
    budget : Budget
    store : Store, optional
        Keeps the rotation and the sensitivities.
    note : StepCounter, optional

    Raises
    ------
    RecipeError
        The budget cannot be met; the message says what can.
    """
    recipe = budget.decided(session.recipe, session.config)
    note = StepCounter(allocation_steps(session.config, budget, recipe)) if note is None else note
    store = NothingKept() if store is None else store
    with torch.no_grad():
        # First: a text that is too short for it is said before anything is measured.
        evaluate = _Evaluation(session, budget, note)
        likely = recipe.model_copy(update={"removed": LIKELY_REMOVED})
        turned = rotated(session, likely, store, note, "rotation-likely")
        checkpoint, config = turned.checkpoint, turned.config
        before = note.done
        dense = recipe.model_copy(update={"removed": 0})
        choices = budget.choices(config, dense)
        measured = store.json(
            "sensitivities",
            lambda: {
                name: sensitivity.as_json()
                for name, sensitivity in measure(
                    checkpoint, config, dense, choices, session.windows, note, session.device
                ).items()
            },
        )
        note.skip(before + config.n_layer - note.done)
        stored = recipe.plan(config)
        small = (name for name in config.tensor_shapes() if name not in stored)
        return select(
            config,
            recipe,
            budget,
            {name: Sensitivity.from_json(found) for name, found in measured.items()},
            small_bytes=sum(as_stored(checkpoint.dense(name)).nbytes for name in small),
            evaluate=evaluate,
        )


def make_recipe(
    model: str | Path,
    budget: Budget,
    recipe: Recipe | None = None,
    *,
    calibration: str | Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Recipe:
    """Return the recipe by which `prune` would prune a model to a budget; arguments as there.

    Raises
    ------
    C4nError
        As `prune`, but for what it cannot write.
    """
    session = Session.open(model, recipe, calibration, progress, device)
    recipe = budget.decided(session.recipe, session.config)
    note = StepCounter(allocation_steps(session.config, budget, recipe), progress)
    with memory_errors(session.device, MEMORY_REMEDY):
        return allocate(session, budget, note=note).recipe


class _Evaluation:
    """Prunes by a recipe and measures log(perplexity / dense perplexity)."""

    def __init__(self, session: Session, budget: Budget, note: StepCounter) -> None:
        self._session, self._note = session, note
        if budget.kind == "ppl_ratio":
            self._windows = session.validation_windows(VALIDATION_WINDOWS)
            self._dense_loss = mean_loss(session.checkpoint, self._windows, session.device)

    def __call__(self, recipe: Recipe) -> float:
        with TemporaryDirectory() as folder, C4nWriter(Path(folder) / "trial") as writer:
            prune_into(writer, self._session, recipe, NothingKept(), self._note)
            found = mean_loss(writer.seal(), self._windows, self._session.device)
            return found - self._dense_loss


def mean_loss(checkpoint: Checkpoint, windows: Tensor, device: torch.device = CPU) -> float:
    """Return the mean negative log-likelihood of windows (b, t) int64, in nats per token."""
    total = 0.0
    found = logits(checkpoint, windows[:, :-1].numpy(), device)
    for scores, window in zip(found, windows.to(device), strict=True):
        likely = scores.log_softmax(-1).gather(-1, window[1:, None])
        total -= float(likely.double().mean())
    return total / len(windows)
