"""Prune a model layer by layer, each seeing what the pruned ones before it give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n.checkpoint import C4nWriter, Checkpoint
from tvm_c4n.model.config import EMBEDDINGS, HEAD, PROJECTIONS, MambaConfig
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.calibration.analysis import ABLATIONS_OF_ANALYSIS, Analyser, Analysis
from tvm_c4n.pruning.calibration.corrected_target import Statistics, collect, corrected_target
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.calibration.torch_mamba import Layer
from tvm_c4n.pruning.method.matrix import prune_matrix
from tvm_c4n.pruning.method.permute import Permuted
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.pruning.report import ProjectionReport
from tvm_c4n.pruning.resume import Journal
from tvm_c4n.sparsity import C4nWeight, from_dense


class LayerwisePruner:
    """One pass of pruning over a model: carries what every step needs."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: MambaConfig,
        recipe: Recipe,
        plan: Mapping[str, Choice],
        writer: C4nWriter,
        progress: Progress | None,
    ) -> None:
        self.checkpoint, self.config, self.recipe = checkpoint, config, recipe
        self.plan, self.writer, self._progress = plan, writer, progress
        self.packed_bytes = 0
        ours = recipe.method == "obs"
        self._corrects = ours and "corrected_target" not in recipe.without
        removes = any(choice.removed for choice in plan.values())
        self._analyses = ours and removes and not set(ABLATIONS_OF_ANALYSIS) <= set(recipe.without)
        self._weights: list[Tensor] | None = None
        self._packed: dict[str, C4nWeight] = {}  # of the layer that is being pruned
        self._done = 0
        self._steps = (len(PROJECTIONS) + self._analyses) * config.n_layer + 2

    def note(self, what: str) -> None:
        """Report one more step as done."""
        self._done += 1
        if self._progress is not None:
            self._progress(what, self._done, self._steps)

    def all(self, windows: Tensor, journal: Journal | None = None) -> list[ProjectionReport]:
        """Prune the whole model with calibration windows (b, t); go on from a journal."""
        found = self._analyse(windows, journal)
        self.checkpoint = Permuted(self.checkpoint, self.config, found.hidden, found.inner)
        self._weights = found.token_weights
        students = self._streams(windows, self._round_only(EMBEDDINGS))
        teachers = []
        if self._corrects:
            teachers = self._streams(windows, torch.from_numpy(self.checkpoint.dense(EMBEDDINGS)))
        if not self.config.tie_embeddings:
            self._round_only(HEAD)
        self.note("embeddings")
        rows = []
        finished = journal.finished() if journal else 0
        for index in range(self.config.n_layer):
            if journal and index < finished:
                rows += self._finished_layer(journal, index)
                if index == finished - 1:
                    journal.restore(students, teachers)
                continue
            new = self._layer(index, students, teachers)
            rows += new
            if journal:
                journal.keep_layer(index, self._packed, new, students, teachers)
        for name in self.config.tensor_shapes():
            if name not in self.plan:
                self._copy(name)
        return rows

    def _analyse(self, windows: Tensor, journal: Journal | None) -> Analysis:
        """Analyse the dense model, or read what was found before."""
        if not self._analyses:
            return Analysis()
        found = journal.analysis() if journal else None
        if found is None:
            analyser = Analyser(self.checkpoint, self.config, self.recipe, self.plan)
            found = analyser.run(windows, self.note)
            if journal:
                journal.keep_analysis(found)
        else:
            self._done += self.config.n_layer
        return found

    def _finished_layer(self, journal: Journal, index: int) -> list[ProjectionReport]:
        """Take a layer from the journal."""
        shapes = self.config.tensor_shapes()
        weights, rows = journal.layer(index, self.plan, self.recipe, shapes)
        for name, weight in weights.items():
            self._add(name, weight)
        self._done += len(weights) - 1
        self.note(f"layer {index} was finished before")
        return rows

    def _add(self, name: str, weight: C4nWeight) -> None:
        """Put a packed weight into the folder."""
        self.writer.add_weight(name, weight)
        self.packed_bytes += weight.size_bytes

    @staticmethod
    def _streams(windows: Tensor, embeddings: Tensor) -> list[Stream]:
        return [Stream(embeddings[batch]) for batch in batches(windows)]

    def _layer(
        self, index: int, students: list[Stream], teachers: list[Stream]
    ) -> list[ProjectionReport]:
        """Prune one layer and take the streams through it, the teachers' through the dense one."""
        layer = Layer.load(self.checkpoint, self.config, index)
        self._packed = {}
        dense = replace(layer, projections=dict(layer.projections))
        for stream in students:
            stream.enter(layer)
        for stream in teachers:
            stream.enter(dense)
        rows = []
        for projection in PROJECTIONS:
            statistics = collect(students, teachers, projection, self._weights)
            rows.append(self._projection(layer, index, projection, statistics))
            for stream in students:
                stream.pass_through(layer, projection)
            for stream in teachers:
                stream.pass_through(dense, projection)
        return rows

    def _projection(
        self, layer: Layer, index: int, projection: str, statistics: Statistics
    ) -> ProjectionReport:
        """Prune one projection, put it into the layer and into the folder."""
        name = self.config.projection(index, projection)
        choice, recipe = self.plan[name], self.recipe
        pruned = prune_matrix(
            corrected_target(layer.projections[projection], statistics, recipe.dampening_frac),
            statistics.gram,
            choice,
            method=recipe.method,
            dampening_frac=recipe.dampening_frac,
            scale_group=recipe.group_of(choice.removed),
            without=recipe.without,
        )
        layer.projections[projection] = torch.from_numpy(pruned.weight.dense())
        self._add(name, pruned.weight)
        self._packed[name] = pruned.weight
        self.note(f"layer {index} {projection}")
        return ProjectionReport(
            name=name,
            layer=index,
            projection=projection,
            removed=choice.removed,
            dtype=choice.dtype,
            masked_error=pruned.masked_error,
            output_error=pruned.output_error,
            size_bytes=pruned.weight.size_bytes,
        )

    def _round_only(self, name: str) -> Tensor:
        """Store a matrix without removing anything; returns it as it will be read."""
        weight = from_dense(
            self.checkpoint.dense(name),
            0,
            self.plan[name].dtype,
            scale_group=self.recipe.group_of(0),
        )
        self._add(name, weight)
        return torch.from_numpy(weight.dense())

    def _copy(self, name: str) -> None:
        """Store a small tensor as it is."""
        array = as_stored(self.checkpoint.dense(name))
        self.writer.add_dense(name, array)
        self.packed_bytes += array.nbytes


def as_stored(array: NDArray[np.float32]) -> NDArray[Any]:
    """Return a small tensor as it is stored: float16 if that loses nothing, as in most sources."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array
