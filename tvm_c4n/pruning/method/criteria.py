"""Which weights go: scores per weight, and the exact loss of every mask of a group.

All functions take torch tensors of shape (rows, cols) and work on all rows at once.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from tvm_c4n.sparsity import GROUP, kept_of


def magnitude_scores(weight: Tensor) -> Tensor:
    """``|w|``."""
    return weight.abs()


def wanda_scores(weight: Tensor, gram: Tensor) -> Tensor:
    """``|w| * ||x||_2``: Wanda (Sun et al., 2023); ``gram`` is X^T X, (cols, cols)."""
    return weight.abs() * gram.diagonal().sqrt()


def sparsegpt_scores(group: Tensor, factor: Tensor) -> Tensor:
    """``w^2 / [H^-1]_ii``: SparseGPT (Frantar and Alistarh, 2023), up to a factor 1/2.

    Parameters
    ----------
    group : (rows, 4)
        Weights of one group.
    factor : (4, 4)
        Diagonal block of the upper Cholesky factor of H^-1. As SparseGPT's code has it, column i
        is scored with the inverse that remains once all columns before i are fixed.
    """
    return (group / factor.diagonal()).square()


def keep_best(scores: Tensor, removed: int) -> Tensor:
    """Mask (rows, cols) bool that keeps the best of each group of 4; of equals, the lower column.

    Parameters
    ----------
    scores : (rows, cols)
        ``cols`` is a multiple of 4 unless ``removed`` is 0.
    """
    if removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    grouped = scores.view(len(scores), -1, GROUP)
    order = grouped.argsort(dim=-1, descending=True, stable=True)[..., : kept_of(removed)]
    mask = torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, order, True)
    return mask.view_as(scores)


def removed_sets(removed: int) -> list[tuple[int, ...]]:
    """All sets of columns of a group that may go: 4, 6 or 4 of them for n = 1, 2, 3."""
    return list(combinations(range(GROUP), removed))


def removal_operators(covariances: Tensor, removed: int) -> Tensor:
    """For each set P of `removed_sets`, ``([H^-1]_PP)^-1`` padded with zeros to 4 x 4.

    Parameters
    ----------
    covariances : (groups, 4, 4)
        For each group its block of the inverse of H over the columns that may still change.

    Returns
    -------
    (groups, sets, 4, 4)
        ``w @ operator @ w / 2`` is the loss of removing P from the group w with the best update of
        all other columns, and ``e = w @ operator`` the multipliers of that update (optimal brain
        surgeon for several weights; Hassibi and Stork 1993, Singh and Alistarh 2020):
        ``dw = -e @ [H^-1]_group,:``, which makes w_P zero.
    """
    sets = removed_sets(removed)
    operators = covariances.new_zeros(len(covariances), len(sets), GROUP, GROUP)
    for s, columns in enumerate(sets):
        rows, cols = torch.meshgrid(torch.tensor(columns), torch.tensor(columns), indexing="ij")
        inverse = torch.linalg.inv(covariances[:, rows, cols])
        operators[:, s, rows, cols] = (inverse + inverse.mT) / 2
    return operators


def diagonal_blocks(matrix: Tensor) -> Tensor:
    """Blocks on the diagonal that belong to the groups: (cols, cols) -> (groups, 4, 4)."""
    groups = len(matrix) // GROUP
    blocks = matrix.view(groups, GROUP, groups, GROUP)
    index = torch.arange(groups)
    return blocks[index, :, index]
