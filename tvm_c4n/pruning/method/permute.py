"""Order channels so that groups of 4 lose less; the model computes the same in any order.

Two kinds of channels may be in any order, at no cost at run time, as long as all tensors that have
them agree: the d_inner channels of each layer (rows of in_proj, conv1d, dt_proj, A_log and D,
columns of x_proj and out_proj), and the hidden channels, which all layers share (columns of the
embeddings and of in_proj, rows of out_proj, norms).

The search: of each group one column is taken out, and the columns are handed back to the groups in
the best way (a linear assignment, solved exactly), again and again. The value of a group is what
its rows keep of ``w^2 / [H^-1]_jj``, the loss of removing each weight by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.config import EMBEDDINGS, FINAL_NORM, HEAD, MambaConfig
from tvm_c4n.pruning.method.hessian import damped, inverse_factor
from tvm_c4n.sparsity import GROUP

# Rounds of the search: after 60 the default model keeps 1.8 % more of the scores than at first, and
# twice as many iterations add 0.2 %.
SEARCH_ITERATIONS = 60
# Rows that are looked at.
SAMPLED_ROWS = 256


def removal_scores(weight: Tensor, statistics: Tensor, dampening_frac: float) -> Tensor:
    """``w^2 / [H^-1]_jj`` for weights (rows, cols), over their mean."""
    factor = inverse_factor(damped(statistics, dampening_frac))
    scores = weight.square() / factor.square().sum(0).to(weight.dtype)
    return scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny)


def find_order(
    scores: Tensor,
    removed: int,
    seed: int,
    *,
    iterations: int = SEARCH_ITERATIONS,
    rows: int = SAMPLED_ROWS,
) -> Tensor:
    """Search for an order of the columns whose groups of 4 keep much.

    Parameters
    ----------
    scores : (rows, cols)
        Not negative; ``cols`` is a multiple of 4.
    removed : int
        n, 1..3.
    seed : int
    iterations : int
    rows : int
        The most rows that are looked at, drawn at random.

    Returns
    -------
    (cols,) int64
        Old column at each new place. Never worse on the rows that are looked at than none at all:
        every round ends with the best assignment, and the one it began with is one of them.
    """
    generator = torch.Generator().manual_seed(seed)
    if len(scores) > rows:
        scores = scores[torch.randperm(len(scores), generator=generator)[:rows]]
    columns = scores.T.contiguous()
    order = torch.arange(len(columns)).view(-1, GROUP)
    for _ in range(iterations):
        order = order.gather(1, torch.rand(order.shape, generator=generator).argsort(1))
        rest = columns[order[:, 1:]]
        # Of 4 columns the ``removed`` smallest go. What a group loses if it takes a column is a sum
        # over what it has, and the smaller one of its next to go, p, and that column, q. The
        # smaller one is (p + q - |p - q|) / 2, and whatever depends on the group or the column
        # alone is the same in every assignment: the best one has the largest distances.
        offered = order[:, 0].clone()
        distances = cdist(columns[offered], _smallest(rest, removed), "cityblock")
        _, group = linear_sum_assignment(distances, maximize=True)
        order[torch.from_numpy(group), 0] = offered
    return order.sort(1).values.flatten()


def _smallest(three: Tensor, which: int) -> Tensor:
    """Find the first, second or third smallest of each three: (groups, 3, rows) -> (groups, rows).

    By hand: torch takes longer to sort many triples than all else takes.
    """
    first, second, third = three.unbind(1)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    if which == 2:
        return torch.maximum(low, torch.minimum(high, third))
    return torch.minimum(low, third) if which == 1 else torch.maximum(high, third)


class Permuted:
    """A checkpoint with its channels in another order; reads like any other.

    Parameters
    ----------
    source : Checkpoint
    config : MambaConfig
    hidden : (h,) int64, optional
        Old channel at each new place.
    inner : mapping of layer to (d,) int64, optional
    """

    def __init__(
        self,
        source: Checkpoint,
        config: MambaConfig,
        hidden: Tensor | None = None,
        inner: Mapping[int, Tensor] | None = None,
    ) -> None:
        self._source = source
        self.path: Path = source.path
        self.config: dict[str, Any] = source.config
        self._axes: dict[str, dict[int, NDArray[np.int64]]] = {}
        if hidden is not None:
            self._add_hidden(config, hidden.numpy())
        for layer, order in (inner or {}).items():
            self._add_inner(config.prefix(layer), order.numpy())

    def _add(self, name: str, axis: int, order: NDArray[np.int64]) -> None:
        self._axes.setdefault(name, {})[axis] = order

    def _add_hidden(self, config: MambaConfig, order: NDArray[np.int64]) -> None:
        self._add(EMBEDDINGS, 1, order)
        self._add(HEAD, 1, order)
        self._add(FINAL_NORM, 0, order)
        for layer in range(config.n_layer):
            self._add(f"backbone.layers.{layer}.norm.weight", 0, order)
            self._add(config.projection(layer, "in_proj"), 1, order)
            self._add(config.projection(layer, "out_proj"), 0, order)

    def _add_inner(self, prefix: str, order: NDArray[np.int64]) -> None:
        both = np.concatenate([order, len(order) + order])  # the rows of x, then those of the gate
        self._add(prefix + "in_proj.weight", 0, both)
        for name in (
            "conv1d.weight",
            "conv1d.bias",
            "dt_proj.weight",
            "dt_proj.bias",
            "A_log",
            "D",
        ):
            self._add(prefix + name, 0, order)
        self._add(prefix + "x_proj.weight", 1, order)
        self._add(prefix + "out_proj.weight", 1, order)

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return self._source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._source.shape(name)

    def dense(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32, in the new order."""
        array = self._source.dense(name)
        for axis, order in self._axes.get(name, {}).items():
            array = np.take(array, order, axis)
        return array

    def weight(self, name: str) -> None:
        """Return None: in another order a packed weight is no longer packed."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors of the source, as stored."""
        return self._source.size_bytes

    def extra_files(self) -> list[Path]:
        """Files that belong to the source."""
        return self._source.extra_files()
