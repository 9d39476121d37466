"""Prune one weight matrix: every method in one path, from statistics to the packed weight."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.pruning.method.compensate import refit, reselect, sweep_joint, sweep_sparsegpt
from tvm_c4n.pruning.method.criteria import keep_best, magnitude_scores, wanda_scores
from tvm_c4n.pruning.method.hessian import damped, inverse_factor
from tvm_c4n.pruning.method.rounding import BITS, Grid, round_descending
from tvm_c4n.pruning.recipe import Ablation, Choice, Method
from tvm_c4n.pruning.threads import map_in_threads
from tvm_c4n.sparsity import C4nWeight, DType, from_dense

# Rounds of choosing masks anew after the first refit; a third one gains under 0.2 % of the error.
RESELECTIONS = 2
# Passes of coordinate descent after the rounding sweep. int8 loses so little that none is needed.
DESCENT_PASSES = {"float16": 0, "int8": 0, "int4": 2}
# Weights that a thread works on together. With fewer, the threads wait for Python more than they
# compute. Fixed, so that the bytes of a pruned model do not depend on the number of threads.
PART_ELEMENTS = 5 << 15


class PrunedMatrix(NamedTuple):
    """A pruned weight and what it cost, as energy of the output's error over the output's.

    Attributes
    ----------
    weight : C4nWeight
    masked_error : float
        ``||(W - W * mask) X||^2 / ||W X||^2``: the final mask without any compensation.
    output_error : float
        The same with the final weights.
    """

    weight: C4nWeight
    masked_error: float
    output_error: float


def relative_output_error(weight: Tensor, other: Tensor, statistics: Tensor) -> float:
    """``||(W - W') X||^2 / ||W X||^2`` from the statistics ``X^T X``; 0 if both are zero."""
    difference = (weight - other).double()
    statistics, weight = statistics.double(), weight.double()
    error = float(((difference @ statistics) * difference).sum())
    energy = float(((weight @ statistics) * weight).sum())
    return max(error, 0.0) / energy if energy > 0 else 0.0


def round_matrix(weight: Tensor, dtype: DType, scale_group: int) -> PrunedMatrix:
    """Round one weight matrix (rows, cols) to nearest; its error is that of the weights.

    ``||W - W'||^2 / ||W||^2`` is what `relative_output_error` gives for white inputs.
    """
    stored = from_dense(weight.numpy(), 0, dtype, scale_group=scale_group)
    difference = (weight - torch.from_numpy(stored.dense())).double()
    energy = float(weight.double().square().sum())
    error = float(difference.square().sum()) / energy if energy > 0 else 0.0
    return PrunedMatrix(stored, 0.0, error)


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
        For int8 and int4.
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
    removed, dtype = choice
    factor = torch.empty(0)
    if method in ("obs", "sparsegpt") and (removed or dtype in BITS):
        factor = inverse_factor(hessian).to(weight.dtype)

    def prune_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        result, mask = _remove(rows, statistics, hessian, factor, removed, method, without)
        grid = Grid.of(result, dtype, scale_group)
        if method == "obs" and "error_feedback" in without:
            return grid.round(result, grid.steps(rows.shape[1])), mask, grid.scales
        return _round(rows, hessian, factor, result, mask, grid, dtype, method), mask, grid.scales

    # The rows are independent problems.
    parts = -(-weight.numel() // PART_ELEMENTS)
    results, masks, scales = zip(*map_in_threads(prune_rows, weight.chunk(parts)), strict=True)
    mask = torch.cat(masks)
    packed = from_dense(
        torch.cat(results).numpy(),
        removed,
        dtype,
        mask=mask.numpy() if removed else None,
        scales=None if scales[0] is None else torch.cat(scales).numpy(),
        scale_group=scale_group,
    )
    stored = torch.from_numpy(packed.dense())
    return PrunedMatrix(
        packed,
        relative_output_error(weight, weight * mask, statistics),
        relative_output_error(weight, stored, statistics),
    )


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
    if method == "sparsegpt":
        return sweep_sparsegpt(weight, factor, removed)
    sweep = sweep_sparsegpt if "joint" in without else sweep_joint
    result, mask = sweep(weight, factor, removed)
    if "refit" not in without:
        result = refit(weight, hessian, mask, result)
    for _ in range(0 if "reselect" in without else RESELECTIONS):
        result, mask = reselect(weight, hessian, result, removed)
        if "refit" not in without:
            result = refit(weight, hessian, mask, result)
    return result, mask


def _round(
    weight: Tensor,
    hessian: Tensor,
    factor: Tensor,
    result: Tensor,
    mask: Tensor,
    grid: Grid,
    dtype: str,
    method: Method,
) -> Tensor:
    """Round to the grid, each method in its own way."""
    steps = grid.steps(weight.shape[1])
    if dtype not in BITS or method in ("magnitude", "wanda"):
        return grid.round(result, steps)

    def rounding(columns: Tensor, first: int) -> Tensor:
        assert steps is not None  # noqa: S101  (dtype is in BITS)
        return grid.round(columns, steps[:, first : first + columns.shape[1]])

    if method == "sparsegpt":
        # Its joint algorithm: one sweep over the original weights that removes and rounds.
        return sweep_sparsegpt(weight, factor, 0, mask=mask, rounding=rounding)[0]
    rounded, _ = sweep_sparsegpt(result, factor, 0, mask=mask, rounding=rounding)
    if DESCENT_PASSES[dtype]:
        rounded = round_descending(weight, hessian, mask, rounded, grid, DESCENT_PASSES[dtype])
    return rounded
