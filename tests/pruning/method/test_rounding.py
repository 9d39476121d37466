"""Rounding stays on the grid and in the mask, and descends."""

import numpy as np
import pytest
import torch

from tvm_c4n.pruning.method.criteria import keep_best, magnitude_scores
from tvm_c4n.pruning.method.hessian import inverse_factor
from tvm_c4n.pruning.method.rounding import Grid, round_descending, round_feeding_back
from tvm_c4n.sparsity import INT_BITS, group_scales, quantize


def loss(weight, other, hessian):
    difference = weight - other
    return float(((difference @ hessian) * difference).sum())


@pytest.mark.parametrize(("dtype", "bits"), INT_BITS.items())
def test_the_grid_is_that_of_the_packed_weight(dtype, bits):
    weight = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    weight[2, :32] = 0  # a group whose scale is zero
    grid = Grid.of(torch.from_numpy(weight), dtype, 32)
    rounded = grid.round(torch.from_numpy(weight), grid.steps(40))
    scales = group_scales(weight, bits, 32)
    codes = quantize(weight, scales, bits, 32)
    expected = codes * np.repeat(scales.astype(np.float32), 32, axis=1)[:, :40]
    np.testing.assert_array_equal(rounded.numpy(), expected)


def test_float16_has_no_scales():
    grid = Grid.of(torch.ones(2, 4), "float16", 64)
    assert grid.scales is None and grid.steps(4) is None
    third = torch.full((1, 1), 1 / 3)
    assert float(grid.round(third, None)) == float(np.float16(1 / 3))


@pytest.mark.parametrize("removed", [0, 2])
def test_error_feedback_stays_on_the_grid_and_beats_rounding_to_nearest(problem, removed):
    weight, hessian = (v.float() for v in problem(24, 160))
    mask = keep_best(magnitude_scores(weight), removed)
    start = weight * mask
    grid = Grid.of(start, "int4", 32)
    result = round_feeding_back(start, inverse_factor(hessian).float(), mask, grid)
    assert not result[~mask].any()
    codes = result / torch.where(grid.steps(160) == 0, torch.inf, grid.steps(160))
    torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
    nearest = grid.round(start, grid.steps(160))
    # Of pruned weights a part of the errors is made up for by weights that are not there.
    assert removed or loss(start, result, hessian) < 0.9 * loss(start, nearest, hessian)


def test_the_last_column_takes_up_the_error_of_the_first():
    hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    weight = torch.tensor([[1.4, 2.45]])
    grid = Grid(torch.ones(1, 1, dtype=torch.float16), 4, 32)
    # 1.4 becomes 1; of the 0.4 the other weight makes up for a half: 2.45 + 0.2 becomes 3.
    full = torch.ones(1, 2, dtype=torch.bool)
    result = round_feeding_back(weight, inverse_factor(hessian).float(), full, grid)
    assert result.tolist() == [[1, 3]]


@pytest.mark.parametrize("removed", [0, 2])
def test_descent_beats_rounding_to_nearest_on_the_same_grid(problem, removed):
    weight, hessian = (v.float() for v in problem(24, 160))
    mask = keep_best(magnitude_scores(weight), removed)
    start = weight * mask
    grid = Grid.of(start, "int4", 32)
    steps = grid.steps(160)
    nearest = grid.round(start, steps)
    losses = []
    for passes in (1, 2, 4):
        result = round_descending(weight, hessian, mask, start, grid, passes)
        assert not result[~mask].any()
        codes = result / torch.where(steps == 0, torch.inf, steps)
        torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
        losses.append(loss(weight, result, hessian))
    assert losses[0] < 0.9 * loss(weight, nearest, hessian)
    assert losses[0] > losses[1] >= losses[2] * 0.9999


def test_descent_stops_at_a_point_that_no_single_weight_improves(problem):
    weight, hessian = (v.float() for v in problem(4, 12))
    mask = torch.ones(4, 12, dtype=torch.bool)
    grid = Grid.of(weight, "int4", 32)
    steps = grid.steps(12)
    result = round_descending(weight, hessian, mask, weight, grid, 100)
    reached = loss(weight, result, hessian)
    for row in range(4):
        for column in range(12):
            for move in (-1, 1):
                other = result.clone()
                other[row, column] += move * steps[row, column]
                code = float(other[row, column] / steps[row, column])
                if -8.5 < code < 7.5:
                    assert loss(weight, other, hessian) >= reached * (1 - 1e-5)
