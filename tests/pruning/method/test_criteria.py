"""Scores and exact mask losses against formulas written out in numpy."""

import numpy as np
import pytest
import torch

from tvm_c4n.pruning.method.criteria import (
    diagonal_blocks,
    keep_best,
    magnitude_scores,
    removal_operators,
    removed_sets,
    sparsegpt_scores,
    wanda_scores,
)
from tvm_c4n.sparsity import check_mask, mask_from_scores


def least_loss(weight, hessian, gone):
    """Loss of removing columns ``gone`` of a row with the best other weights, by least squares."""
    kept = [i for i in range(len(weight)) if i not in gone]
    best = np.zeros_like(weight)
    best[kept] = np.linalg.solve(hessian[np.ix_(kept, kept)], (hessian @ weight)[kept])
    difference = best - weight
    return difference @ hessian @ difference / 2, best


def test_scores_of_the_baselines_by_hand():
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    gram = torch.diag(torch.tensor([9.0, 1.0, 16.0, 0.0]))
    assert magnitude_scores(weight).tolist() == [[1, 2, 0.5, 3]]
    assert wanda_scores(weight, gram).tolist() == [[3, 2, 2, 0]]
    factor = torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    assert sparsegpt_scores(weight, factor).tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_keep_best_agrees_with_the_numpy_layer_ties_included(removed):
    scores = np.random.default_rng(0).integers(0, 3, (40, 32)).astype(np.float32)
    mask = keep_best(torch.from_numpy(scores), removed).numpy()
    check_mask(mask, removed)
    np.testing.assert_array_equal(mask, mask_from_scores(scores, removed))


def test_nothing_removed_keeps_any_number_of_columns():
    assert keep_best(torch.zeros(2, 7), 0).all()


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_joint_loss_equals_least_squares_for_every_mask(problem, removed):
    weight, hessian = problem(3, 12)
    group = slice(4, 8)  # all other columns may change
    covariance = torch.linalg.inv(hessian)[group, group]
    operators = removal_operators(covariance[None], removed)[0]
    losses = torch.einsum("ri,sij,rj->sr", weight[:, group], operators, weight[:, group]) / 2
    for s, columns in enumerate(removed_sets(removed)):
        for row in range(3):
            gone = [4 + i for i in columns]
            expected, _ = least_loss(weight[row].numpy(), hessian.numpy(), gone)
            assert float(losses[s, row]) == pytest.approx(expected, rel=1e-9)


def test_diagonal_blocks_are_those_of_the_groups():
    matrix = torch.arange(64.0).view(8, 8)
    blocks = diagonal_blocks(matrix)
    assert torch.equal(blocks[0], matrix[:4, :4]) and torch.equal(blocks[1], matrix[4:, 4:])


def test_masks_of_a_group_are_all_there():
    assert [len(removed_sets(n)) for n in (1, 2, 3)] == [4, 6, 4]
    assert removed_sets(3) == [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]
