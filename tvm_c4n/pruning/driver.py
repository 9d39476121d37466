"""Prune a session's model into a C4n folder that is being written."""

from __future__ import annotations

from typing import NamedTuple

from tvm_c4n.checkpoint import C4nWriter
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.calibration.analysis import Analyser, Analysis, needs_analysis
from tvm_c4n.pruning.layerwise import LayerwisePruner, as_stored
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.pruning.report import LayerRepair, ProjectionReport
from tvm_c4n.pruning.resume import Store, resumed
from tvm_c4n.pruning.rotation import rotated, rotation_steps
from tvm_c4n.pruning.session import Session
from tvm_c4n.pruning.steps import StepCounter


class PrunedModel(NamedTuple):
    """What was written.

    Attributes
    ----------
    reports : list of ProjectionReport
    repairs : list of LayerRepair
    packed_bytes : int
        All tensors as they lie in memory, stored.
    """

    reports: list[ProjectionReport]
    repairs: list[LayerRepair]
    packed_bytes: int


def pruning_steps(config: ModelConfig, recipe: Recipe) -> int:
    """Return how many steps `prune_into` notes.

    They are those of a rotation, the embeddings, and per layer the analysis, its projections and,
    where the recipe says so, its repair.
    """
    others = 1 + bool(recipe.repair)
    layers = sum(others + len(config.projections(i)) for i in range(config.n_layer))
    return rotation_steps(config, recipe) + 1 + layers


def prune_into(
    writer: C4nWriter, session: Session, recipe: Recipe, store: Store, note: StepCounter
) -> PrunedModel:
    """Prune a model by a recipe and add all its tensors to a folder.

    Parameters
    ----------
    writer : C4nWriter
    session : Session
        Of the model as it is; it is rotated here, where the recipe says so.
    recipe : Recipe
        Its calibration windows are the session's.
    store : Store
        Keeps the rotation, the analysis and finished layers.
    note : StepCounter
    """
    session = rotated(session, recipe, store, note)
    pruner = LayerwisePruner(session, recipe, _analysis(session, recipe, store, note), note)
    packed_bytes = 0
    for name, rounded in pruner.unpruned.items():
        writer.add_weight(name, rounded)
        packed_bytes += rounded.size_bytes
    note("embeddings")
    reports, repairs = list[ProjectionReport](), list[LayerRepair]()
    trained: set[str] = set()
    for layer in resumed(pruner, store, note):
        for name, weight in layer.weights.items():
            writer.add_weight(name, weight)
            packed_bytes += weight.size_bytes
        reports += layer.reports
        repairs += [layer.repair] if layer.repair else []
        for name, tensor in layer.tensors.items():
            array = as_stored(tensor.cpu().numpy())
            writer.add_dense(name, array)
            packed_bytes += array.nbytes
        trained |= layer.tensors.keys()
    for name, array in pruner.small_tensors():
        if name in trained:
            continue
        writer.add_dense(name, array)
        packed_bytes += array.nbytes
    writer.copy_extra(session.checkpoint)
    return PrunedModel(reports, repairs, packed_bytes)


def _analysis(session: Session, recipe: Recipe, store: Store, note: StepCounter) -> Analysis:
    """Analyse the dense model where the recipe needs it, or read what was found before."""
    plan = recipe.plan(session.config)
    before = note.done
    analysis = Analysis()
    if needs_analysis(recipe, plan):
        analyser = Analyser(session.checkpoint, session.config, recipe, plan, session.device)
        found = store.tensors("analysis", lambda: analyser.run(session.windows, note).as_tensors())
        analysis = Analysis.from_tensors(found)
    note.skip(before + session.config.n_layer - note.done)
    return analysis
