"""Analysis of the dense model: in which order to prune its channels, and which tokens count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.config import EMBEDDINGS, PROJECTIONS, MambaConfig
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.calibration.torch_mamba import Layer
from tvm_c4n.pruning.method.permute import SAMPLED_ROWS, find_order, removal_scores
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.pruning.threads import map_in_threads

# The parts of the method that need the analysis; without all of them it is skipped.
ABLATIONS_OF_ANALYSIS = ("permute", "rms")


class Analysis(NamedTuple):
    """What the analysis found.

    Attributes
    ----------
    hidden : (h,) int64 or None
        The order of the hidden channels that loses least: the old channel at each new place.
    inner : dict of layer to (d,) int64
        The same for the channels of d_inner.
    token_weights : list of (b, t, 1) float32, or None
        For each batch of windows, what the square of an error in a token's residual stream counts:
        one over the stream's mean square behind the last layer. The stream is read through
        RMSNorm, so an error counts relative to it.
    """

    hidden: Tensor | None = None
    inner: Mapping[int, Tensor] = {}
    token_weights: list[Tensor] | None = None

    def as_tensors(self) -> dict[str, Tensor]:
        """Return the analysis as named tensors."""
        found = {f"inner.{layer}": order for layer, order in self.inner.items()}
        found |= {f"weights.{i}": w for i, w in enumerate(self.token_weights or [])}
        return found if self.hidden is None else {**found, "hidden": self.hidden}

    @classmethod
    def from_tensors(cls, found: Mapping[str, Tensor]) -> Analysis:
        """Undo `as_tensors`."""
        inner = {int(k.removeprefix("inner.")): v for k, v in found.items() if "inner." in k}
        weights = [found[f"weights.{i}"] for i in range(len(found)) if f"weights.{i}" in found]
        return cls(found.get("hidden"), inner, weights or None)


def needs_analysis(recipe: Recipe, plan: Mapping[str, Choice]) -> bool:
    """Say whether a recipe's method uses the analysis; nothing does where nothing is removed."""
    uses = recipe.method == "obs" and not set(ABLATIONS_OF_ANALYSIS) <= set(recipe.without)
    return uses and any(choice.removed for choice in plan.values())


@dataclass
class Analyser:
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
    _inner: dict[int, Tensor] = field(default_factory=dict)  # scores (rows, d) of out_proj
    _shared: list[Tensor] = field(default_factory=list)

    def run(self, windows: Tensor, note: Callable[[str], None]) -> Analysis:
        """Analyse calibration windows (b, t) int64; the first batch decides on the orders."""
        permutes, weighs = (part not in self.recipe.without for part in ABLATIONS_OF_ANALYSIS)
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
                        self._score(layer, index, projection, stream.inputs)
                    stream.pass_through(layer, projection)
            note(f"layer {index} analysis")
        energies = [stream.hidden.square().mean(-1, keepdim=True) for stream in streams]
        weights = [1 / energy.clamp_min(torch.finfo(energy.dtype).tiny) for energy in energies]
        return Analysis(self._hidden(), self._orders(), weights if weighs else None)

    def _score(self, layer: Layer, index: int, projection: str, inputs: Tensor) -> None:
        """Score what the groups of in_proj and out_proj would lose."""
        removed = self.plan[self.config.projection(index, projection)].removed
        if not removed or projection not in ("in_proj", "out_proj"):
            return
        weight = layer.projections[projection]
        scores = removal_scores(weight, gram([inputs]), self.recipe.dampening_frac)
        # Only the rows that the searches look at are kept: at 2.8b all would take 3 GB.
        generator = torch.Generator().manual_seed(self.recipe.seed + index)
        some = torch.randperm(len(scores), generator=generator)
        if projection == "in_proj":
            self._shared.append(scores[some[: max(1, 4 * SAMPLED_ROWS // self.config.n_layer)]])
        else:
            self._inner[index] = scores[some[:SAMPLED_ROWS]]

    def _orders(self) -> dict[int, Tensor]:
        """Find the order of each layer's channels; the layers are independent problems."""

        def order(index: int) -> Tensor:
            removed = self.plan[self.config.projection(index, "out_proj")].removed
            return find_order(self._inner[index], removed, self.recipe.seed)

        return dict(zip(self._inner, map_in_threads(order, self._inner), strict=True))

    def _hidden(self) -> Tensor | None:
        """Find the order of the hidden channels, one for all layers."""
        if not self._shared:
            return None
        names = (self.config.projection(i, "in_proj") for i in range(self.config.n_layer))
        counted = Counter(self.plan[name].removed for name in names)
        usual = max((n for n in counted if n), key=lambda n: counted[n])
        return find_order(torch.cat(self._shared), usual, self.recipe.seed, rows=4 * SAMPLED_ROWS)
