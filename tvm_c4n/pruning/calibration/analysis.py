"""Analysis of the dense model: in which order to prune its channels, and which tokens count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.description import ModelConfig, Projection
from tvm_c4n.model.tensor_spec import HIDDEN, Axis
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.devices import CPU
from tvm_c4n.pruning.method.permute import SAMPLED_ROWS, find_order, removal_scores
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.torch_blocks.threads import map_in_threads

# The parts of the method that need the analysis; without all of them it is skipped.
ABLATIONS_OF_ANALYSIS = ("permute", "rms")


class Analysis(NamedTuple):
    """What the analysis found.

    Attributes
    ----------
    orders : dict of str to (channels,) int64
        The orders of channels that lose least, see `Permuted`.
    token_weights : list of (b, t, 1) float32, or None
        For each batch of windows, what the square of an error in a token's residual stream counts:
        one over the stream's mean square behind the last layer. The stream is read through
        RMSNorm, so an error counts relative to it.
    """

    orders: Mapping[str, Tensor] = {}
    token_weights: list[Tensor] | None = None

    def as_tensors(self) -> dict[str, Tensor]:
        """Return the analysis as named tensors, on the CPU."""
        found = {f"order.{label}": order for label, order in self.orders.items()}
        return found | {f"weights.{i}": w.cpu() for i, w in enumerate(self.token_weights or [])}

    @classmethod
    def from_tensors(cls, found: Mapping[str, Tensor]) -> Analysis:
        """Undo `as_tensors`."""
        orders = {k.removeprefix("order."): v for k, v in found.items() if k.startswith("order.")}
        weights = [found[f"weights.{i}"] for i in range(len(found)) if f"weights.{i}" in found]
        return cls(orders, weights or None)


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
    device : torch.device
    """

    checkpoint: Checkpoint
    config: ModelConfig
    recipe: Recipe
    plan: Mapping[str, Choice]
    device: torch.device = CPU
    # Scores (rows, channels) by label, and n of the projection that they are of.
    _scores: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    _hidden: list[tuple[Tensor, int]] = field(default_factory=list)

    def run(self, windows: Tensor, note: Callable[[str], None]) -> Analysis:
        """Analyse calibration windows (b, t) int64; the first batch decides on the orders."""
        permutes, weighs = (part not in self.recipe.without for part in ABLATIONS_OF_ANALYSIS)
        embeddings = torch.from_numpy(self.checkpoint.dense(self.config.embeddings))
        scale = self.config.embedding_scale
        streams = [Stream((scale * embeddings[b]).to(self.device)) for b in batches(windows)]
        del embeddings
        if not weighs:
            del streams[1:]
        for index in range(self.config.n_layer):
            layer = Layer.load(self.checkpoint, self.config, index, self.device)
            for number, stream in enumerate(streams):
                stream.enter(layer)
                for projection in self.config.projections(index).values():
                    if permutes and number == 0:
                        self._score(layer, index, projection, stream)
                    stream.pass_through(layer)
            note(f"layer {index} analysis")
        energies = [stream.hidden.square().mean(-1, keepdim=True) for stream in streams]
        weights = [1 / energy.clamp_min(torch.finfo(energy.dtype).tiny) for energy in energies]
        return Analysis(self._hidden_order() | self._orders(), weights if weighs else None)

    def _score(self, layer: Layer, index: int, projection: Projection, stream: Stream) -> None:
        """Score what the groups of a projection would lose, if its columns may be reordered."""
        removed = self.plan[projection.weight].removed
        columns = self.config.layer_tensors(index)[projection.weight].axes[1]
        reads_hidden = columns[0].label == HIDDEN
        reordered = [
            (block.prefix, reordering.label)
            for block in self.config.layers[index].blocks
            for reordering in block.reorderings()
            if reordering.projection == projection.name
        ]
        if not removed or not (reads_hidden or reordered):
            return
        weight = layer.projections[projection.name]
        scores = removal_scores(weight, gram([stream.inputs]), self.recipe.dampening_frac)
        # Only the rows that the searches look at are kept: at 2.8b all would take 3 GB.
        generator = torch.Generator().manual_seed(self.recipe.seed + index)
        some = torch.randperm(len(scores), generator=generator)
        if reads_hidden:
            rows = max(1, 4 * SAMPLED_ROWS // self._readers)
            self._hidden.append((scores[some[:rows]], removed))
        for prefix, label in reordered:
            found = columns_of(scores[some[:SAMPLED_ROWS]], columns, label)
            self._scores[prefix + label] = (found, removed)

    @cached_property
    def _readers(self) -> int:
        """How many projections read the residual stream."""
        tensors = self.config.tensors()
        names = self.config.weights()[len(self.config.unpruned()) :]
        return sum(tensors[name].axes[1][0].label == HIDDEN for name in names)

    def _orders(self) -> dict[str, Tensor]:
        """Find the orders of the channels of blocks; all are independent problems."""
        chunks = {
            block.prefix + reordering.label: reordering.chunk
            for layer in self.config.layers
            for block in layer.blocks
            for reordering in block.reorderings()
        }

        def order(label: str) -> Tensor:
            scores, removed = self._scores[label]
            chunk = chunks[label]
            parts = scores.split(chunk, dim=1)
            found = (find_order(part, removed, self.recipe.seed) for part in parts)
            return torch.cat([chunk * i + part for i, part in enumerate(found)])

        return dict(zip(self._scores, map_in_threads(order, self._scores), strict=True))

    def _hidden_order(self) -> dict[str, Tensor]:
        """Find the order of the hidden channels, one for all layers."""
        if not self._hidden:
            return {}
        counted = Counter(removed for _, removed in self._hidden)
        usual = max(counted, key=lambda n: counted[n])
        scores = torch.cat([scores for scores, _ in self._hidden])
        return {HIDDEN: find_order(scores, usual, self.recipe.seed, rows=4 * SAMPLED_ROWS)}


def columns_of(scores: Tensor, axis: Axis, label: str) -> Tensor:
    """Return the columns of a label; where it occurs several times, below each other."""
    parts = scores.split([segment.size for segment in axis], dim=1)
    return torch.cat([p for p, segment in zip(parts, axis, strict=True) if segment.label == label])
