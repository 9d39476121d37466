"""Sweeps, refit and reselection against slow versions of the same definitions."""

import numpy as np
import pytest
import torch

from tvm_c4n.pruning.method.compensate import (
    COLUMN_BLOCK,
    refit,
    reselect,
    sweep_joint,
    sweep_sparsegpt,
)
from tvm_c4n.pruning.method.criteria import keep_best, magnitude_scores
from tvm_c4n.pruning.method.hessian import inverse_factor
from tvm_c4n.sparsity import check_mask


def loss(weight, other, hessian):
    difference = weight - other
    return float(((difference @ hessian) * difference).sum())


def row_losses(weight, other, hessian):
    difference = weight - other
    return ((difference @ hessian) * difference).sum(1)


def least_squares(weight, hessian, mask):
    """Refit every row on its mask with numpy."""
    result = np.zeros(weight.shape)
    for row in range(len(weight)):
        kept = np.flatnonzero(mask[row])
        right = (hessian @ weight[row])[kept]
        result[row, kept] = np.linalg.solve(hessian[np.ix_(kept, kept)], right)
    return result


def sweep_by_definition(weight, hessian, removed, joint):
    """Both sweeps, row by row, with a fresh inverse of H over the columns from each one on."""
    w = weight.copy()
    for start in range(0, w.shape[1], 4):
        inverse = np.linalg.inv(hessian[start:, start:])
        for row in w:
            if joint:
                row[start:] = _remove_jointly(row[start:], inverse, removed)
            else:
                _remove_one_by_one(row, hessian, start, removed)
    return w


def _remove_jointly(row, inverse, removed):
    from itertools import combinations

    best, result = np.inf, row
    for gone in combinations(range(4), removed):
        gone = list(gone)
        multipliers = np.linalg.solve(inverse[np.ix_(gone, gone)], row[gone])
        if multipliers @ row[gone] < best:
            best = multipliers @ row[gone]
            result = row - multipliers @ inverse[gone]
            result[gone] = 0
    return result


def _remove_one_by_one(row, hessian, start, removed):
    diagonals = [np.linalg.inv(hessian[i:, i:])[0, 0] for i in range(start, start + 4)]
    gone = np.argsort(row[start : start + 4] ** 2 / diagonals, kind="stable")[:removed]
    for i in range(4):
        if i in gone:
            inverse = np.linalg.inv(hessian[start + i :, start + i :])
            row[start + i :] -= row[start + i] / inverse[0, 0] * inverse[0]
            row[start + i] = 0


@pytest.mark.parametrize("removed", [1, 2, 3])
@pytest.mark.parametrize("joint", [True, False])
def test_sweeps_equal_their_definition(problem, removed, joint):
    weight, hessian = problem(5, 20, seed=removed)
    sweep = sweep_joint if joint else sweep_sparsegpt
    result, mask = sweep(weight, inverse_factor(hessian), removed)
    check_mask(mask.numpy(), removed)
    expected = sweep_by_definition(weight.numpy(), hessian.numpy(), removed, joint)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-4 if joint else 1e-9)


def test_gathering_updates_in_blocks_changes_nothing(problem, monkeypatch):
    weight, hessian = problem(6, 2 * COLUMN_BLOCK + 40)
    factor = inverse_factor(hessian)
    blocked = sweep_sparsegpt(weight, factor, 2)
    monkeypatch.setattr("tvm_c4n.pruning.method.compensate.COLUMN_BLOCK", 10_000)
    whole = sweep_sparsegpt(weight, factor, 2)
    assert torch.equal(blocked[1], whole[1])
    torch.testing.assert_close(blocked[0], whole[0])


def test_sparsegpt_with_uncorrelated_inputs_is_magnitude_pruning_without_updates(problem):
    weight, _ = problem(6, 16)
    result, mask = sweep_sparsegpt(weight, inverse_factor(torch.eye(16).double()), 2)
    expected = keep_best(magnitude_scores(weight), 2)
    assert torch.equal(mask, expected)
    torch.testing.assert_close(result, weight * expected)


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_refit_equals_least_squares(problem, removed):
    weight, hessian = problem(9, 32)
    mask = keep_best(magnitude_scores(weight), removed)
    result = refit(weight, hessian, mask, weight * mask, tolerance=1e-12)
    expected = least_squares(weight.numpy(), hessian.numpy(), mask.numpy())
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-8)
    assert not result[~mask].any()


def test_refit_in_float32_comes_as_close_as_it_says(problem):
    weight, hessian = (v.float() for v in problem(16, 64))
    mask = keep_best(magnitude_scores(weight), 2)
    best = torch.from_numpy(
        least_squares(weight.double().numpy(), hessian.double().numpy(), mask.numpy())
    )
    result = refit(weight, hessian, mask, weight * mask)
    least = loss(weight.double(), best, hessian.double())
    assert loss(weight.double(), result.double(), hessian.double()) < 1.01 * least


def test_refit_of_everything_and_of_zeros_is_exact(problem):
    weight, hessian = problem(3, 8)
    full = torch.ones(3, 8, dtype=torch.bool)
    torch.testing.assert_close(refit(weight, hessian, full, weight), weight)
    zeros = torch.zeros_like(weight)
    assert torch.equal(refit(zeros, hessian, full, zeros), zeros)


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_reselection_lowers_the_loss_and_obeys_the_mask(problem, removed):
    weight, hessian = problem(24, COLUMN_BLOCK + 24, seed=4)
    start, mask = sweep_sparsegpt(weight, inverse_factor(hessian), removed)
    start = refit(weight, hessian, mask, start)
    result, chosen = reselect(weight, hessian, start, removed)
    check_mask(chosen.numpy(), removed)
    assert not result[~chosen].any()
    assert not torch.equal(chosen, mask)
    before, after = row_losses(weight, start, hessian), row_losses(weight, result, hessian)
    assert (after <= before * (1 + 1e-5)).all()
    assert after.sum() < 0.98 * before.sum()


def test_reselection_of_a_single_group_is_the_exact_optimum(problem):
    weight, hessian = problem(20, 4)
    result, _ = reselect(weight, hessian, torch.zeros_like(weight), 2)
    for removed_first in range(3):
        for removed_second in range(removed_first + 1, 4):
            mask = torch.ones(20, 4, dtype=torch.bool)
            mask[:, [removed_first, removed_second]] = False
            other = least_squares(weight.numpy(), hessian.numpy(), mask.numpy())
            best = row_losses(weight, result, hessian)
            assert (best <= row_losses(weight, torch.from_numpy(other), hessian) + 1e-5).all()
