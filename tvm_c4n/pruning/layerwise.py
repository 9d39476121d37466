"""Prune a model layer by layer, each layer seeing what the pruned ones before it give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.description import Projection
from tvm_c4n.pruning.calibration.analysis import Analysis
from tvm_c4n.pruning.calibration.corrected_target import collect, corrected_target
from tvm_c4n.pruning.calibration.experts import expert_grams, prune_experts, tokens_of_experts
from tvm_c4n.pruning.calibration.head import HeadRounder
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.method.matrix import PrunedMatrix, prune_matrix, round_matrix
from tvm_c4n.pruning.method.permute import Permuted
from tvm_c4n.pruning.recipe import Choice, Recipe, needs_calibration
from tvm_c4n.pruning.repair import stream_error, train_layer
from tvm_c4n.pruning.report import LayerRepair, ProjectionReport
from tvm_c4n.pruning.session import Session
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.sparsity import AnyWeight, C4nWeight, removed_of_each


class Activations(NamedTuple):
    """The residual streams between two layers, for each batch of calibration windows.

    Attributes
    ----------
    students : list of (b, t, h) float32
        Of the model as it is pruned so far: first the calibration windows, then those that layers
        are trained on beyond them.
    teachers : list of (b, t, h) float32
        Of the dense model; empty where targets are not corrected and no layer is trained.
    """

    students: list[Tensor]
    teachers: list[Tensor]


@dataclass(frozen=True)
class PrunedLayer:
    """One layer as it is stored.

    Attributes
    ----------
    index : int
    weights : dict of tensor name to C4nWeight or StackedWeight
        Its projections.
    reports : list of ProjectionReport
    activations : Activations
        Behind the layer. The tensors are those that the next layer goes on to change.
    tensors : dict of tensor name to Tensor
        Its other tensors, where they were trained.
    repair : LayerRepair, optional
        What training did.
    """

    index: int
    weights: dict[str, AnyWeight]
    reports: list[ProjectionReport]
    activations: Activations
    tensors: dict[str, Tensor] = field(default_factory=dict)
    repair: LayerRepair | None = None


class LayerwisePruner:
    """Prunes one model by one recipe; one layer's weights are in memory at a time.

    Parameters
    ----------
    session : Session
    recipe : Recipe
        It fits the session's model; its calibration windows are the session's.
    analysis : Analysis
        Of the dense model; an empty one reorders nothing and weights all tokens alike.
    note : StepCounter
        Told of every projection, and of every layer that was trained.

    Attributes
    ----------
    config : ModelConfig
    recipe : Recipe
    plan : dict of tensor name to Choice
    repairs : bool
        Whether layers are trained.
    """

    def __init__(
        self, session: Session, recipe: Recipe, analysis: Analysis, note: StepCounter
    ) -> None:
        self.config, self.recipe, self._session = session.config, recipe, session
        self.plan = recipe.plan(session.config)
        self._note, self.repairs = note, bool(recipe.repair)
        calibrating, more = list(batches(session.windows)), session.more
        self._calibrating = len(calibrating)
        self._windows = calibrating + (list(batches(more)) if self.repairs and len(more) else [])
        self._device, weights = session.device, analysis.token_weights
        self._token_weights = weights and [one.to(self._device) for one in weights]
        self._corrects = recipe.method == "obs" and "corrected_target" not in recipe.without
        self._checkpoint: Checkpoint = Permuted(session.checkpoint, session.config, analysis.orders)

    @cached_property
    def unpruned(self) -> dict[str, C4nWeight]:
        """The embeddings, and the head where it is not tied to them: rounded only."""
        session, dtype = self._session, self.plan[self.config.embeddings].dtype
        args = (self._checkpoint, self.config, self.recipe, session.windows, session.device)
        return HeadRounder(*args).rounded(dtype)

    def small_tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield names and values of all tensors that are stored as they are."""
        for name in self.config.tensor_shapes():
            if name not in self.plan:
                yield name, as_stored(self._checkpoint.dense(name))

    def start(self) -> Activations:
        """Return the activations in front of the first layer."""
        dense = self._checkpoint.dense(self.config.embeddings)
        rounded = self.unpruned[self.config.embeddings].dense()
        follows = self._corrects or self.repairs
        return Activations(self._embed(rounded), self._embed(dense) if follows else [])

    def layers(
        self, first: int = 0, activations: Activations | None = None
    ) -> Iterator[PrunedLayer]:
        """Prune one layer after the other.

        Parameters
        ----------
        first : int
            The first layer to prune.
        activations : Activations, optional
            In front of it; from `start` by default.
        """
        if not needs_calibration(self.plan):
            yield from (self._rounded_layer(index) for index in range(first, self.config.n_layer))
            return
        before = self.start() if activations is None else activations
        students, teachers = ([Stream(h.to(self._device)) for h in side] for side in before)
        for index in range(first, self.config.n_layer):
            yield self._trained(index, students, teachers)

    def _rounded_layer(self, index: int) -> PrunedLayer:
        """Round a layer of a model that needs no calibration; there are no activations."""
        weights, reports = {}, []
        for projection in self.config.projections(index).values():
            name = projection.weight
            dense = torch.from_numpy(self._checkpoint.dense(name))
            rounded = round_matrix(dense, self.plan[name].dtype, self.recipe.group_of(0))
            weights[name] = rounded.weight
            reports.append(self._report(index, projection, rounded))
            self._note(f"layer {index} {projection.name}")
        self._note.skip(self.repairs)
        return PrunedLayer(index, weights, reports, Activations([], []))

    def _embed(self, embeddings: NDArray[np.float32]) -> list[Tensor]:
        table = torch.from_numpy(embeddings * np.float32(self.config.embedding_scale))
        return [table[batch].to(self._device) for batch in self._windows]

    def _trained(self, index: int, students: list[Stream], teachers: list[Stream]) -> PrunedLayer:
        """Prune a layer, train it where the recipe says so, and take the streams through it."""
        inputs = torch.cat([s.hidden for s in students]) if self.repairs else torch.empty(0)
        few = self._calibrating
        layer, weights, reports = self._layer(index, students[:few], teachers)
        tensors, repair = dict[str, Tensor](), None
        if self.repairs:
            wanted = [teacher.hidden for teacher in teachers]
            count, seed = self.recipe.repair, self.recipe.seed
            rows, targets = inputs[:count], torch.cat(wanted)[:count]
            trained = train_layer(self.config, index, layer, weights, rows, targets, seed)
            parts = inputs.split([len(student.hidden) for student in students])[:few]
            behind = [trained.layer(part.clone()) for part in parts]
            before = stream_error([s.hidden for s in students[:few]], wanted[:few])
            after = stream_error(behind, wanted[:few])
            if after < before:  # else the layer stays as it was
                layer, weights, tensors = trained
                for student, hidden in zip(students, behind, strict=False):
                    student.hidden = hidden
            for student in students[few:]:
                student.hidden = layer(student.hidden)
            repair = LayerRepair(layer=index, before=before, after=min(after, before))
            self._note(f"layer {index} repair")
        behind_all = Activations([s.hidden for s in students], [t.hidden for t in teachers])
        return PrunedLayer(index, weights, reports, behind_all, tensors, repair)

    def _layer(
        self, index: int, students: list[Stream], teachers: list[Stream]
    ) -> tuple[Layer, dict[str, AnyWeight], list[ProjectionReport]]:
        """Prune a layer and take the streams through it, the teachers' through the dense one."""
        corrects = teachers[: len(students)] if self._corrects else []
        layer = Layer.load(self._checkpoint, self.config, index, self._device)
        dense = replace(layer, projections=dict(layer.projections))
        for stream in students:
            stream.enter(layer)
        for stream in teachers:
            stream.enter(dense)
        weights, reports = {}, []
        for projection in self.config.projections(index).values():
            name = projection.weight
            weight = layer.projections[projection.name]
            reached: tuple[int, ...] = ()
            if projection.experts:
                grams = expert_grams(students, self._token_weights)
                choices = self._choices(projection)
                pruned = prune_experts(weight, choices, grams, partial(self._prune, name)).joined()
                reached = tuple(tokens_of_experts(students))
            else:
                statistics = collect(students, corrects, dense, weight, self._token_weights)
                target = corrected_target(weight, statistics, self.recipe.dampening_frac)
                pruned = self._prune(name, target, statistics.gram, self.plan[name])
            weights[name] = pruned.weight
            reports.append(self._report(index, projection, pruned, reached))
            layer.projections[projection.name] = pruned.values
            self._note(f"layer {index} {projection.name}")
            for stream in students:
                stream.pass_through(layer)
            for stream in teachers:
                stream.pass_through(dense)
        return layer, weights, reports

    def _choices(self, projection: Projection) -> list[Choice]:
        """Return how each expert of a projection is stored."""
        choice = self.plan[projection.weight]
        each = removed_of_each(choice.pattern, projection.experts)
        return [Choice(n, choice.dtype) for n in each]

    def _prune(self, name: str, weight: Tensor, gram: Tensor, choice: Choice) -> PrunedMatrix:
        """Prune a matrix (rows, cols), which may be a part of a weight."""
        recipe = self.recipe
        return prune_matrix(
            weight,
            gram,
            choice,
            method=recipe.method,
            dampening_frac=recipe.dampening_frac,
            scale_group=recipe.group_of(self.plan[name].removed),
            without=recipe.without,
        )

    def _report(
        self,
        index: int,
        projection: Projection,
        pruned: PrunedMatrix,
        reached: tuple[int, ...] = (),
    ) -> ProjectionReport:
        choice = self.plan[projection.weight]
        return ProjectionReport(
            name=projection.weight,
            layer=index,
            projection=projection.name,
            removed=choice.pattern,
            dtype=choice.dtype,
            masked_error=pruned.masked_error,
            output_error=pruned.output_error,
            size_bytes=pruned.weight.size_bytes,
            expert_tokens=reached,
        )


def as_stored(array: NDArray[np.float32]) -> NDArray[Any]:
    """Return a small tensor as it is stored: float16 if that loses nothing, as in most sources."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array
