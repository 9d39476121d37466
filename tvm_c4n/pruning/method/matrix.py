"""Prune one weight matrix: every method in one path, from statistics to the packed weight."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.pruning.method.compensate import refit, reselect, sweep_joint, sweep_sparsegpt
from tvm_c4n.pruning.method.criteria import keep_best, magnitude_scores, wanda_scores
from tvm_c4n.pruning.method.hessian import damped, inverse_factor
from tvm_c4n.pruning.method.rounding import Grid, round_descending, round_feeding_back
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.pruning.recipe import Ablation, Choice, Method
from tvm_c4n.sparsity import (
    FIELD_BITS,
    FLOAT16_MAX,
    INT_BITS,
    AnyWeight,
    C4nWeight,
    DType,
    as_float32,
    from_dense,
    row_blocks,
)
from tvm_c4n.torch_blocks.threads import map_in_threads

# Rounds of choosing masks anew after the first refit; a third one gains under 0.2 % of the error.
RESELECTIONS = 2
# Where refits stop: those between two selections of masks sooner. With 1e-3 for all of them refits
# took 1.4 times as long, and the error of an output was 0.2 % smaller.
DRAFT_TOLERANCE, FINAL_TOLERANCE = 3e-3, 2e-3
# Passes of coordinate descent after the rounding sweep, and as many again after each of the refits
# of scales. int8 loses so little that it needs none. More passes, or refits, gain under 1 % of the
# error that rounding makes.
DESCENT_PASSES, SCALE_REFITS = 2, 2


class PrunedMatrix(NamedTuple):
    """A pruned weight and what it cost, as energy of the output's error over the output's.

    Attributes
    ----------
    weight : C4nWeight or StackedWeight
    masked_error : float
        ``||(W - W * mask) X||^2 / ||W X||^2``: the final mask without any compensation.
    output_error : float
        The same with the final weights.
    values : (rows, cols) float32
        What ``weight.dense()`` gives, where the statistics are.
    """

    weight: AnyWeight
    masked_error: float
    output_error: float
    values: Tensor


def relative_output_error(weight: Tensor, other: Tensor, statistics: Tensor) -> float:
    """``||(W - W') X||^2 / ||W X||^2`` from the statistics ``X^T X``; 0 if both are zero."""
    error, energy = (_energy(w, statistics) for w in (weight - other, weight))
    return max(error, 0.0) / energy if energy > 0 else 0.0


def _energy(weight: Tensor, statistics: Tensor) -> float:
    """``||W X||^2``."""
    return float((times_transposed(weight, statistics) * weight).sum(dtype=torch.float64))


def round_matrix(weight: Tensor, dtype: DType, scale_group: int) -> PrunedMatrix:
    """Round one weight matrix (rows, cols) to nearest; its error is that of the weights.

    ``||W - W'||^2 / ||W||^2`` is what `relative_output_error` gives for white inputs.
    """
    stored = from_dense(weight.numpy(), 0, dtype, scale_group=scale_group)
    values = torch.from_numpy(stored.dense())
    difference = (weight - values).double()
    energy = float(weight.double().square().sum())
    error = float(difference.square().sum()) / energy if energy > 0 else 0.0
    return PrunedMatrix(stored, 0.0, error, values)


def prune_matrix(
    weight: Tensor,
    statistics: Tensor,
    choice: Choice,
    *,
    method: Method = "obs",
    dampening_frac: float = 0.01,
    scale_group: int = 64,
    without: Collection[Ablation] = (),
) -> PrunedMatrix:
    """Prune and round one weight matrix.

    Parameters
    ----------
    weight : (rows, cols) float32
        ``cols`` is a multiple of 4 unless ``choice.removed`` is 0.
    statistics : (cols, cols) float32
        ``X^T X`` of the inputs, not damped.
    choice : Choice
    method : str
        See `Recipe`.
    dampening_frac : float
    scale_group : int
        For integer dtypes.
    without : collection of str
        Steps of method "obs" to leave out; see `Recipe`.

    Returns
    -------
    PrunedMatrix

    Raises
    ------
    C4nError
        The weight is not finite or overflows float16, or the statistics are degenerate.
    """
    hessian = damped(statistics, dampening_frac)
    removed, dtype = choice.removed, choice.dtype
    factor = torch.empty(0)
    if method in ("obs", "sparsegpt") and (removed or dtype in INT_BITS):
        factor = inverse_factor(hessian).to(weight.dtype)

    result, mask = _remove(weight, statistics, hessian, factor, removed, method, without)
    importance = None
    if method == "obs" and dtype in FIELD_BITS and "scales" not in without:
        # What an error costs when the weights on the right make up for it.
        importance = factor.diagonal().square().reciprocal()
    grid = Grid.of(result, dtype, scale_group, importance)
    if dtype not in INT_BITS or method in ("magnitude", "wanda") or "error_feedback" in without:
        result = grid.round(result, grid.steps(weight.shape[1]))
    elif method == "sparsegpt":
        # Its joint algorithm: one sweep over the original weights that removes and rounds.
        result = round_feeding_back(weight, factor, mask, grid)
    else:
        result = round_feeding_back(result, factor, mask, grid)
        if dtype in FIELD_BITS:
            result = round_descending(weight, hessian, mask, result, grid, DESCENT_PASSES)
        for _ in range(SCALE_REFITS if importance is not None else 0):
            grid = grid.refitted(weight, hessian, result)
            result = grid.round(result, grid.steps(weight.shape[1])) * mask
            result = round_descending(weight, hessian, mask, result, grid, DESCENT_PASSES)
    # What is packed lies on the grid: it is what the packed weight says.
    return PrunedMatrix(
        _packed(result, mask if removed else None, grid, removed, dtype),
        relative_output_error(weight, weight * mask, statistics),
        relative_output_error(weight, result, statistics),
        result,
    )


def _packed(
    weight: Tensor, mask: Tensor | None, grid: Grid, removed: int, dtype: DType
) -> C4nWeight:
    """Pack a weight that lies on a grid; threads share its rows."""
    values = as_float32(weight.cpu().numpy(), FLOAT16_MAX)
    kept = None if mask is None else mask.cpu().numpy()
    scales = None if grid.scales is None else grid.scales.cpu().numpy()

    def part(rows: slice) -> C4nWeight:
        return from_dense(
            values[rows],
            removed,
            dtype,
            mask=None if kept is None else kept[rows],
            scales=None if scales is None else scales[rows],
            scale_group=grid.scale_group,
        )

    return C4nWeight.stack(map_in_threads(part, row_blocks(*values.shape)))


def _remove(
    weight: Tensor,
    statistics: Tensor,
    hessian: Tensor,
    factor: Tensor,
    removed: int,
    method: Method,
    without: Collection[Ablation],
) -> tuple[Tensor, Tensor]:
    """Weights after removal and compensation, and the mask; nothing is rounded yet."""
    if removed == 0:
        return weight.clone(), keep_best(weight, 0)
    if method in ("magnitude", "wanda"):
        by_size = method == "magnitude"
        scores = magnitude_scores(weight) if by_size else wanda_scores(weight, statistics)
        mask = keep_best(scores, removed)
        return weight * mask, mask
    sweep = sweep_sparsegpt if method == "sparsegpt" or "joint" in without else sweep_joint
    result, mask = sweep(weight, factor, removed)
    if method == "sparsegpt":
        return result, mask
    for left in range(0 if "reselect" in without else RESELECTIONS, -1, -1):
        if "refit" not in without:
            tolerance = DRAFT_TOLERANCE if left else FINAL_TOLERANCE
            result = refit(weight, hessian, mask, result, tolerance=tolerance)
        if left:
            result, mask = reselect(weight, hessian, result, removed)
    return result, mask
