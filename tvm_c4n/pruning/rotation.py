"""The first step of pruning: turn the residual stream of a session's model, where that helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.tensor_spec import reads_stream
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.method.hessian import damped
from tvm_c4n.pruning.method.rotate import Rotated
from tvm_c4n.pruning.method.rotation import REPORT_STEPS, Reader, find_rotation, steps_of
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.pruning.resume import Store
from tvm_c4n.pruning.session import Session
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.sparsity import GROUP

# Places where the stream is read that are looked at, evenly spaced, and rows of each: of a model of
# 2.8b they take 1.5 GB.
MOST_READERS, MOST_ROWS = 32, 2048
# n that a rotation is for which is asked for though nothing that reads the stream is pruned.
USUAL_REMOVED = 2
_NAME = "rotation"


def rotation_steps(config: ModelConfig, recipe: Recipe) -> int:
    """Return how many steps `rotated` notes."""
    if not recipe.rotates(config):
        return 0
    return config.n_layer + steps_of(config.d_model) // REPORT_STEPS


def rotated(
    session: Session, recipe: Recipe, store: Store, note: StepCounter, name: str = _NAME
) -> Session:
    """Return the session with its model rotated for a recipe, or as it is.

    Parameters
    ----------
    session : Session
    recipe : Recipe
        Its calibration windows are the session's.
    store : Store
        Keeps the rotation.
    note : StepCounter
    name : str
        What the store calls it.

    Raises
    ------
    RecipeError
        The recipe asks for a rotation that this model does not admit.
    """
    if not recipe.rotates(session.config):
        return session
    steps = note.done + rotation_steps(session.config, recipe)
    found = store.tensors(name, lambda: {_NAME: _find(session, recipe, note)})
    note.skip(steps - note.done)
    rotation = found[_NAME].numpy()
    checkpoint = Rotated(session.checkpoint, session.config, rotation, session.device)
    return replace(session, checkpoint=checkpoint, config=checkpoint.description)


def _find(session: Session, recipe: Recipe, note: StepCounter) -> Tensor:
    """Read the first batch of calibration windows with the dense model, and learn from that."""
    if session.config.d_model % GROUP:
        raise RecipeError(
            f"{session.checkpoint.path}: {session.config.d_model} channels of the residual stream "
            f"are no multiple of {GROUP}; set rotate to false"
        )
    readers = list(_readers(session, recipe, note))
    return find_rotation(readers, recipe.seed, lambda: note("rotation")).cpu()


def _readers(session: Session, recipe: Recipe, note: StepCounter) -> Iterator[Reader]:
    """Yield what reads the stream behind each norm, as one matrix, with the norm's statistics."""
    identity = np.eye(session.config.d_model, dtype=np.float32)
    folded = Rotated(session.checkpoint, session.config, identity, session.device)
    config = folded.description
    found = reading(config, recipe)
    spaced = np.linspace(0, len(found) - 1, min(len(found), MOST_READERS)).round()
    chosen = {(index, names[0]): (names, n) for index, names, n in (found[int(i)] for i in spaced)}
    embeddings = config.embedding_scale * torch.from_numpy(folded.dense(config.embeddings))
    stream = Stream(embeddings[next(batches(session.windows))].to(session.device))
    del embeddings
    generator = torch.Generator().manual_seed(recipe.seed)
    for index in range(config.n_layer):
        layer = Layer.load(folded, config, index, session.device)
        stream.enter(layer)
        for name in layer.projections:
            if (index, name) in chosen:
                together, removed = chosen[index, name]
                weight = torch.cat([layer.projections[other] for other in together])
                some = torch.randperm(len(weight), generator=generator)[:MOST_ROWS]
                hessian = damped(gram([stream.inputs]), recipe.dampening_frac)
                inverse = torch.linalg.inv(hessian.double()).float()
                yield Reader(weight[some], inverse, removed)
            stream.pass_through(layer)
        note(f"layer {index} rotation")


def reading(config: ModelConfig, recipe: Recipe) -> list[tuple[int, list[str], int]]:
    """List for each norm of the stream its layer, the projections that read it, and their n.

    Those count from which the recipe removes weights; if there are none at all, those that it would
    prune if it had one n for the model. Of several n behind a norm the most frequent one counts.
    """
    found = _reading(config, recipe)
    return found or _reading(config, recipe.model_copy(update={"removed": USUAL_REMOVED}))


def _reading(config: ModelConfig, recipe: Recipe) -> list[tuple[int, list[str], int]]:
    tensors, plan, found = config.tensors(), recipe.plan(config), []
    for index, layer in enumerate(config.layers):
        for residual in layer.residuals:
            removed = {
                projection.name: plan[projection.weight].removed
                for block in residual.blocks
                for projection in block.projections()
                if reads_stream(tensors[projection.weight])
            }
            names = [name for name, n in removed.items() if n]
            if names:
                usual = Counter(removed[name] for name in names).most_common(1)[0][0]
                found.append((index, names, usual))
    return found
