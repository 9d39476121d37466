"""Order channels so that groups of 4 lose less; the model computes the same in any order.

Two kinds of channels may be in any order, at no cost at run time, as long as all tensors that have
them agree: those that a block says may be (`Block.reorderings`; of Mamba-1 the d_inner channels of
each layer), and the hidden channels, which all layers share. The axes of the description say where
they are.

The search: of each group one column is taken out, and the columns are handed back to the groups in
the best way (a linear assignment, solved exactly), again and again. The value of a group is what
its rows keep of ``w^2 / [H^-1]_jj``, the loss of removing each weight by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.derived import DerivedCheckpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.tensor_spec import HIDDEN, Axis
from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.pruning.method.hessian import damped, inverse_factor
from tvm_c4n.sparsity import GROUP

# Rounds of the search: after 60 the default model keeps 1.8 % more of the scores than at first, and
# twice as many iterations add 0.2 %.
SEARCH_ITERATIONS = 60
# Rows that are looked at.
SAMPLED_ROWS = 256
# Groups that exchange columns with each other in a round; larger models draw such sets anew each
# time. An exact assignment takes the cube of the number: of 1,152 groups, 60 rounds kept 0.9278 of
# the scores in 7 s so, 0.9285 in 16 s with 512, and 0.9061 were kept at first.
EXCHANGING_GROUPS = 256


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
        if len(order) > EXCHANGING_GROUPS:
            order = order[torch.randperm(len(order), generator=generator)]
        for groups in order.split(EXCHANGING_GROUPS):
            _exchange(groups, columns, removed)
    return order.sort(1).values.flatten()


def _exchange(groups: Tensor, columns: Tensor, removed: int) -> None:
    """Hand the first column of each group (groups, 4) to the group that loses least, in place.

    Of 4 columns the ``removed`` smallest go. What a group loses if it takes a column is a sum over
    what it has, and the smaller one of its next to go, p, and that column, q. The smaller one is
    (p + q - |p - q|) / 2, and whatever depends on the group or the column alone is the same in
    every assignment: the best one has the largest distances.
    """
    offered = groups[:, 0].clone()
    far = _distances(columns[offered], _smallest(columns[groups[:, 1:]], removed))
    _, taker = linear_sum_assignment(far, maximize=True)
    groups[torch.from_numpy(taker), 0] = offered


def _distances(columns: Tensor, groups: Tensor) -> Tensor:
    """``sum_r |columns[i, r] - groups[j, r]|``: (m, rows), (n, rows) -> (m, n), on the CPU."""
    if not on_cpu(columns):
        return torch.cdist(columns, groups, p=1).cpu()
    from tvm_c4n.pruning.method.distances import distances  # a GPU needs no compiler

    return distances(columns, groups)


def _smallest(three: Tensor, which: int) -> Tensor:
    """Find the first, second or third smallest of each three: (groups, 3, rows) -> (groups, rows).

    By hand: torch takes longer to sort many triples than all else takes.
    """
    first, second, third = three.unbind(1)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    if which == 2:
        return torch.maximum(low, torch.minimum(high, third))
    return torch.minimum(low, third) if which == 1 else torch.maximum(high, third)


class Permuted(DerivedCheckpoint):
    """A checkpoint with its channels in another order; reads like any other.

    Parameters
    ----------
    source : Checkpoint
    config : ModelConfig
    orders : mapping of str to (channels,) int64
        The old channel at each new place, by `HIDDEN` or by a block's prefix and the label of a
        segment, see `tvm_c4n.model.description`.
    """

    def __init__(
        self, source: Checkpoint, config: ModelConfig, orders: Mapping[str, Tensor]
    ) -> None:
        super().__init__(source)
        known = {label: order.numpy() for label, order in orders.items()}
        self._axes: dict[str, dict[int, NDArray[np.int64]]] = {}
        if not known:
            return
        blocks = [block for layer in config.layers for block in layer.blocks]
        prefixes = {
            block.prefix + name: block.prefix for block in blocks for name in block.tensors()
        }
        for name, spec in config.tensors().items():
            prefix = prefixes.get(name, "")
            for axis, segments in enumerate(spec.axes):
                order = axis_order(segments, known, prefix)
                if order is not None:
                    self._axes.setdefault(name, {})[axis] = order

    def dense(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32, in the new order."""
        array = self._source.dense(name)
        for axis, order in self._axes.get(name, {}).items():
            array = np.take(array, order, axis)
        return array


def axis_order(
    axis: Axis, orders: Mapping[str, NDArray[np.int64]], prefix: str
) -> NDArray[np.int64] | None:
    """Return the old channel at each new place of an axis; None where it stays as it is.

    Parameters
    ----------
    axis : Axis
    orders : mapping of str to (channels,) int64
    prefix : str
        Of the block that the tensor belongs to.
    """
    names = [s.label if s.label == HIDDEN else prefix + s.label for s in axis]
    if not any(name in orders for name in names):
        return None
    parts, start = [], 0
    for name, segment in zip(names, axis, strict=True):
        parts.append(start + orders.get(name, np.arange(segment.size)))
        start += segment.size
    return np.concatenate(parts)
