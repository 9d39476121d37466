"""Rounding of embeddings and head: to few bits, the head is fitted to what it gives.

Logits see the head's errors through what it reads, as any projection's outputs do. Where the
embeddings are the head as well, an error of them is carried into the stream, too: it counts
`EMBEDDING_SHARE` of what the mean channel counts in the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.calibration.layer import Head, Layer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import batches
from tvm_c4n.pruning.devices import CPU
from tvm_c4n.pruning.method.hessian import identity_like
from tvm_c4n.pruning.method.matrix import prune_matrix
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.sparsity import FIELD_BITS, C4nWeight, DType, from_dense

# Calibration windows at most whose last activations are looked at.
WINDOWS = 32
# Of 0, 0.1, 0.5 and 2 best on the default model, in int4 and in int3.
EMBEDDING_SHARE = 0.5
# Rows of the head that are rounded together: a vocabulary may have 250,000.
ROWS = 1 << 14


@dataclass
class HeadRounder:
    """Rounds what is not pruned: the embeddings, and the head and its map where there are such.

    Attributes
    ----------
    checkpoint, config
        The dense model.
    recipe : Recipe
    windows : (b, t) int64
        Calibration windows; the first `WINDOWS` are used.
    device : torch.device
    """

    checkpoint: Checkpoint
    config: ModelConfig
    recipe: Recipe
    windows: Tensor
    device: torch.device = CPU

    def rounded(self, dtype: DType) -> dict[str, C4nWeight]:
        """Return these weights in a dtype, by their names."""
        group, recipe = self.recipe.group_of(0), self.recipe
        feeds_back = recipe.method == "obs" and "error_feedback" not in recipe.without
        found = {}
        for name in self.config.unpruned():
            weight = self.checkpoint.dense(name)
            if name == self.config.head and dtype in FIELD_BITS and feeds_back:
                found[name] = self._fitted(torch.from_numpy(weight), dtype, group)
            else:
                found[name] = from_dense(weight, 0, dtype, scale_group=group)
        return found

    def _fitted(self, weight: Tensor, dtype: DType, group: int) -> C4nWeight:
        parts = [
            prune_matrix(
                rows.to(self.device),
                self._statistics,
                Choice(0, dtype),
                dampening_frac=self.recipe.dampening_frac,
                scale_group=group,
                without=self.recipe.without,
            ).weight
            for rows in weight.split(ROWS)
        ]
        return C4nWeight.stack([part for part in parts if isinstance(part, C4nWeight)])

    @cached_property
    def _statistics(self) -> Tensor:
        """``X^T X`` (h, h) of what the head reads, and what an error of the embeddings costs."""
        embeddings = torch.from_numpy(self.checkpoint.dense(self.config.embeddings))
        embeddings *= self.config.embedding_scale
        streams = [embeddings[b].to(self.device) for b in batches(self.windows[:WINDOWS])]
        for index in range(self.config.n_layer):
            layer = Layer.load(self.checkpoint, self.config, index, self.device)
            streams = [layer(hidden) for hidden in streams]
        head = Head.load(self.checkpoint, self.config).to(self.device)
        found = gram(head.inputs(hidden) for hidden in streams)
        share = EMBEDDING_SHARE if self.config.head == self.config.embeddings else 0.0
        return found + share * found.diagonal().mean() * identity_like(found)
