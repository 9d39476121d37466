"""Prune a model folder: layer by layer, each seeing what the pruned ones before it give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n import __version__
from tvm_c4n.assets import CALIBRATION
from tvm_c4n.checkpoint import C4nWriter, Checkpoint, open_checkpoint, write_twin
from tvm_c4n.model.config import EMBEDDINGS, HEAD, PROJECTIONS, MambaConfig
from tvm_c4n.model.text import load_tokenizer
from tvm_c4n.prune.calibrate import draw_windows
from tvm_c4n.prune.imitate import Statistics, collect, goal
from tvm_c4n.prune.matrix import prune_matrix
from tvm_c4n.prune.recipe import Choice, Recipe
from tvm_c4n.prune.report import ProjectionReport, Report
from tvm_c4n.prune.stream import Stream, batches
from tvm_c4n.prune.survey import LOOKS, Survey
from tvm_c4n.prune.torch_mamba import Layer
from tvm_c4n.sparsity import from_dense

Progress = Callable[[str, int, int], None]


def prune(
    model: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    calibration: str | Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    twin: bool = True,
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
    calibration : path, optional
        Text to calibrate with (.jsonl or plain); the package's own by default.
    progress : callable, optional
        ``progress(what, done, total)`` after each step.
    overwrite : bool
        Replace an existing C4n folder.
    twin : bool
        Also write ``out/dense``, the same weights as a Hugging Face folder in float16.

    Returns
    -------
    Report
        Also written to ``out/report.json``.

    Raises
    ------
    RecipeError
        The recipe does not fit the model, or the calibration text does not serve.
    CheckpointError
        The model is damaged or not supported, or ``out`` cannot be written.
    """
    began = perf_counter()
    recipe = Recipe() if recipe is None else recipe
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    config.check(checkpoint)
    plan = recipe.plan(config)
    text = None if calibration is None else Path(calibration)
    producer = {"name": "tvm-c4n", "version": __version__}
    with C4nWriter(out, overwrite=overwrite, producer=producer) as writer, torch.no_grad():
        windows = draw_windows(load_tokenizer(checkpoint.path), recipe, text)
        run = _Run(checkpoint, config, recipe, plan, writer, progress)
        rows = run.all(torch.from_numpy(windows))
        writer.copy_extra(checkpoint)
        sealed = writer.seal()
        if twin:
            write_twin(sealed, writer.folder / "dense")
        run.note("written")
        report = Report(
            source=checkpoint.path.resolve().name,
            recipe=recipe.model_dump(mode="json"),
            calibration=(text or CALIBRATION).name,
            projections=tuple(rows),
            source_bytes=_weight_bytes(checkpoint.path),
            disk_bytes=_weight_bytes(writer.folder) + (writer.folder / "c4n.json").stat().st_size,
            packed_bytes=run.packed_bytes,
            run_secs=round(perf_counter() - began, 3),
        )
        writer.add_json("report.json", report.model_dump(mode="json"))
    return report


class _Run:
    """One pruning run: carries what every step needs."""

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
        self._imitates = ours and "imitate" not in recipe.without
        removes = any(choice.removed for choice in plan.values())
        self._surveys = ours and removes and not set(LOOKS) <= set(recipe.without)
        self._weights: list[Tensor] | None = None
        self._done = 0
        self._steps = (len(PROJECTIONS) + self._surveys) * config.layers + 2

    def note(self, what: str) -> None:
        """Report one more step as done."""
        self._done += 1
        if self._progress is not None:
            self._progress(what, self._done, self._steps)

    def all(self, windows: Tensor) -> list[ProjectionReport]:
        """Prune the whole model with calibration windows (b, t)."""
        if self._surveys:
            survey = Survey(self.checkpoint, self.config, self.recipe, self.plan)
            self.checkpoint, self._weights = survey.run(windows, self.note)
        pupils = self._streams(windows, self._round_only(EMBEDDINGS))
        teachers = []
        if self._imitates:
            teachers = self._streams(windows, torch.from_numpy(self.checkpoint.dense(EMBEDDINGS)))
        if not self.config.tied:
            self._round_only(HEAD)
        self.note("embeddings")
        rows = []
        for index in range(self.config.layers):
            rows += self._layer(index, pupils, teachers)
        for name in self.config.tensor_shapes():
            if name not in self.plan:
                self._copy(name)
        return rows

    @staticmethod
    def _streams(windows: Tensor, embeddings: Tensor) -> list[Stream]:
        return [Stream(embeddings[batch]) for batch in batches(windows)]

    def _layer(
        self, index: int, pupils: list[Stream], teachers: list[Stream]
    ) -> list[ProjectionReport]:
        """Prune one layer and take the streams through it, the teachers' through the dense one."""
        layer = Layer.load(self.checkpoint, self.config, index)
        dense = replace(layer, projections=dict(layer.projections))
        for stream in pupils:
            stream.enter(layer)
        for stream in teachers:
            stream.enter(dense)
        rows = []
        for projection in PROJECTIONS:
            statistics = collect(pupils, teachers, projection, self._weights)
            rows.append(self._projection(layer, index, projection, statistics))
            for stream in pupils:
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
            goal(layer.projections[projection], statistics, recipe.damp),
            statistics.gram,
            choice,
            method=recipe.method,
            damp=recipe.damp,
            scale_group=recipe.scale_group,
            without=recipe.without,
        )
        layer.projections[projection] = torch.from_numpy(pruned.weight.dense())
        self.writer.add_weight(name, pruned.weight)
        self.packed_bytes += pruned.weight.size_bytes
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
            scale_group=self.recipe.scale_group,
        )
        self.writer.add_weight(name, weight)
        self.packed_bytes += weight.size_bytes
        return torch.from_numpy(weight.dense())

    def _copy(self, name: str) -> None:
        """Store a small tensor as it is: float16 if that loses nothing, as in most sources."""
        array: NDArray[Any] = self.checkpoint.dense(name)
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if np.array_equal(half.astype(np.float32), array):
            array = half
        self.writer.add_dense(name, array)
        self.packed_bytes += array.nbytes


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
