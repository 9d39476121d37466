"""A first look at the dense model: which order of its channels to prune in, which tokens count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.config import EMBEDDINGS, PROJECTIONS, MambaConfig
from tvm_c4n.pruning.calibrate import gram
from tvm_c4n.pruning.permute import ROWS, find_order, removal_scores
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.pruning.stream import Stream, batches
from tvm_c4n.pruning.torch_mamba import Layer

LOOKS = ("permute", "rms")  # the steps of a recipe that need a first look


class Findings(NamedTuple):
    """What the first look found.

    Attributes
    ----------
    hidden : (h,) int64 or None
        The order of the hidden channels that loses least: the old channel at each new place.
    inner : dict of layer to (d,) int64
        The same for the channels of d_inner.
    weights : list of (b, t, 1) float32, or None
        For each batch of windows, what the square of an error in a token's residual stream counts:
        one over the stream's mean square behind the last layer. The stream is read through
        RMSNorm, so an error counts relative to it.
    """

    hidden: Tensor | None = None
    inner: Mapping[int, Tensor] = {}
    weights: list[Tensor] | None = None


@dataclass
class Survey:
    """Reads the dense model once, one layer in memory at a time.

    Attributes
    ----------
    checkpoint, config, recipe, plan
        What is going to be pruned, and how.
    """

    checkpoint: Checkpoint
    config: MambaConfig
    recipe: Recipe
    plan: Mapping[str, Choice]
    _inner: dict[int, Tensor] = field(default_factory=dict)
    _shared: list[Tensor] = field(default_factory=list)

    def run(self, windows: Tensor, note: Callable[[str], None]) -> Findings:
        """Look at calibration windows (b, t) int64; the first batch decides on the orders."""
        permutes, weighs = (step not in self.recipe.without for step in LOOKS)
        embeddings = torch.from_numpy(self.checkpoint.dense(EMBEDDINGS))
        streams = [Stream(embeddings[batch]) for batch in batches(windows)]
        del embeddings
        if not weighs:
            del streams[1:]
        for index in range(self.config.n_layer):
            layer = Layer.load(self.checkpoint, self.config, index)
            for number, stream in enumerate(streams):
                stream.enter(layer)
                for projection in PROJECTIONS:
                    if permutes and number == 0:
                        self._look_at(layer, index, projection, stream.inputs)
                    stream.pass_through(layer, projection)
            note(f"layer {index} first look")
        energies = [stream.hidden.square().mean(-1, keepdim=True) for stream in streams]
        weights = [1 / energy.clamp_min(torch.finfo(energy.dtype).tiny) for energy in energies]
        return Findings(self._hidden(), self._inner, weights if weighs else None)

    def _look_at(self, layer: Layer, index: int, projection: str, inputs: Tensor) -> None:
        """Note what the groups of in_proj and out_proj would lose, and find d_inner's order."""
        removed = self.plan[self.config.projection(index, projection)].removed
        if not removed or projection not in ("in_proj", "out_proj"):
            return
        weight = layer.projections[projection]
        scores = removal_scores(weight, gram([inputs]), self.recipe.damp)
        if projection == "in_proj":
            generator = torch.Generator().manual_seed(self.recipe.seed + index)
            some = torch.randperm(len(scores), generator=generator)
            self._shared.append(scores[some[: max(1, 4 * ROWS // self.config.n_layer)]])
        else:
            self._inner[index] = find_order(scores, removed, self.recipe.seed)

    def _hidden(self) -> Tensor | None:
        """Find the order of the hidden channels, one for all layers."""
        if not self._shared:
            return None
        names = (self.config.projection(i, "in_proj") for i in range(self.config.n_layer))
        counted = Counter(self.plan[name].removed for name in names)
        usual = max((n for n in counted if n), key=lambda n: counted[n])
        return find_order(torch.cat(self._shared), usual, self.recipe.seed, rows=4 * ROWS)
