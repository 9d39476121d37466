"""How the kept weights make up for the removed ones: sweeps, exact refit, better masks.

The problem of each row w of a projection: minimise ``(w - w0) H (w - w0)^T`` over rows that obey a
mask, where H = X^T X of the projection's inputs, damped. All functions work on all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tvm_c4n.pruning.method.criteria import (
    best_removal,
    diagonal_blocks,
    keep_best,
    kept_table,
    removal_operators,
    sparsegpt_scores,
)
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.sparsity import GROUP

# Columns whose updates are gathered before they are applied to the columns on the right: one
# product instead of 128 rank-1 updates of the whole matrix.
COLUMN_BLOCK = 128

# Rounds the weights of some columns: (rows, width) and the first column -> (rows, width).
Rounding = Callable[[Tensor, int], Tensor]


def sweep_sparsegpt(
    weight: Tensor,
    factor: Tensor,
    removed: int,
    *,
    mask: Tensor | None = None,
    rounding: Rounding | None = None,
) -> tuple[Tensor, Tensor]:
    """Prune as SparseGPT does: a diagonal score per group, then updates column by column.

    Parameters
    ----------
    weight : (rows, cols)
    factor : (cols, cols)
        From `inverse_factor`, in the weight's dtype.
    removed : int
        n, 0..3.
    mask : (rows, cols) bool, optional
        Use this mask and choose none.
    rounding : callable, optional
        Rounds each column in turn; its error is made up for like that of a removed weight.

    Returns
    -------
    weight : (rows, cols), mask : (rows, cols) bool
    """
    w = weight.clone()
    chosen = keep_best(w, 0) if mask is None else mask.clone()
    cols = w.shape[1]
    for start in range(0, cols, COLUMN_BLOCK):
        stop = min(start + COLUMN_BLOCK, cols)
        block, u = w[:, start:stop], factor[start:stop, start:stop]
        errors = torch.empty_like(block)
        for i in range(stop - start):
            if mask is None and removed and i % GROUP == 0:
                group = slice(i, i + GROUP)
                scores = sparsegpt_scores(block[:, group], u[group, group])
                chosen[:, start + i : start + i + GROUP] = keep_best(scores, removed)
            column = block[:, i]
            target = column if rounding is None else rounding(column[:, None], start + i)[:, 0]
            target = target * chosen[:, start + i]
            errors[:, i] = (column - target) / u[i, i]
            block[:, i + 1 :] -= errors[:, i, None] * u[i, i + 1 :]
            block[:, i] = target
        w[:, stop:] -= errors @ factor[start:stop, stop:]
    return w, chosen


def sweep_joint(weight: Tensor, factor: Tensor, removed: int) -> tuple[Tensor, Tensor]:
    """Prune group by group, each with the exact best of its masks and the joint update.

    Parameters and returns as `sweep_sparsegpt`. The inverse of H over the columns from i on is
    ``U_i^T U_i``, so that the update ``-e [H^-1]_group,:`` is ``-(e U_g^T) U[group, i:]`` with the
    group's 4 x 4 block U_g: like SparseGPT's, it can be gathered per block.
    """
    w = weight.clone()
    mask = keep_best(w, 0)
    if removed == 0:
        return w, mask
    table = kept_table(removed)
    corners = diagonal_blocks(factor).double()
    operators = removal_operators(corners.mT @ corners, removed).to(w.dtype)
    cols = w.shape[1]
    for start in range(0, cols, COLUMN_BLOCK):
        stop = min(start + COLUMN_BLOCK, cols)
        block, u = w[:, start:stop], factor[start:stop, start:stop]
        errors = torch.empty_like(block)
        for i in range(0, stop - start, GROUP):
            group = slice(i, i + GROUP)
            at = (start + i) // GROUP
            choice, _, multipliers = best_removal(block[:, group], operators[at])
            errors[:, group] = multipliers @ u[group, group].T
            block[:, i:] -= errors[:, group] @ u[group, i:]
            kept = table[choice]
            block[:, group] *= kept
            mask[:, start + i : start + i + GROUP] = kept
        w[:, stop:] -= errors @ factor[start:stop, stop:]
    return w, mask


def refit(
    weight: Tensor,
    hessian: Tensor,
    mask: Tensor,
    start: Tensor,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 200,
) -> Tensor:
    """Solve the least-squares problem of every row on its mask, by conjugate gradients.

    All rows run together, so that a step costs one product with H; preconditioned with the
    diagonal of H.

    Parameters
    ----------
    weight : (rows, cols)
        The weights that the outputs are fitted to, w0.
    hessian : (cols, cols)
        Damped; in the weight's dtype.
    mask : (rows, cols) bool
    start : (rows, cols)
        First guess, zero outside the mask.
    tolerance : float
        Stop when the residual's norm (with the preconditioner) is that fraction of the one that
        zeros would have, over all rows.

    Returns
    -------
    (rows, cols)
        Zero outside the mask.
    """
    kept = mask.to(weight.dtype)
    precondition = kept / hessian.diagonal()
    goal = (times_transposed(weight, hessian).square() * precondition).sum()
    x = start * kept
    residual = times_transposed(weight - x, hessian).mul_(kept)
    direction = residual * precondition
    power = (residual * direction).sum(1, keepdim=True)
    for _ in range(max_steps):
        if power.sum() <= tolerance**2 * goal:
            break
        curved = times_transposed(direction, hessian).mul_(kept)  # H is symmetric
        step = power / (direction * curved).sum(1, keepdim=True).clamp_min(1e-30)
        x.addcmul_(direction, step)
        residual.addcmul_(curved, step, value=-1)
        curved = torch.mul(residual, precondition, out=curved)
        following = (residual * curved).sum(1, keepdim=True)
        direction.mul_(following / power.clamp_min(1e-30)).add_(curved)
        power = following
    return x


def reselect(
    weight: Tensor, hessian: Tensor, current: Tensor, removed: int
) -> tuple[Tensor, Tensor]:
    """Choose the mask and the weights of each group anew, all other groups held as they are.

    Each group's choice is exact (all its masks, each with its best weights), so that the loss
    never rises. Block coordinate descent: one pass over the groups from left to right.

    Parameters
    ----------
    weight, hessian
        As in `refit`.
    current : (rows, cols)
        Weights that obey some mask.
    removed : int
        n, 1..3.

    Returns
    -------
    weight : (rows, cols), mask : (rows, cols) bool
    """
    w = current.clone()
    mask = torch.zeros_like(w, dtype=torch.bool)
    table = kept_table(removed)
    gradient = times_transposed(w - weight, hessian)
    covariances = torch.linalg.inv(diagonal_blocks(hessian).double())
    operators = removal_operators(covariances, removed).to(w.dtype)
    covariances = covariances.to(w.dtype)
    cols = w.shape[1]
    for start in range(0, cols, COLUMN_BLOCK):
        stop = min(start + COLUMN_BLOCK, cols)
        inside, local = gradient[:, start:stop].clone(), hessian[start:stop, start:stop]
        before = w[:, start:stop].clone()
        for i in range(0, stop - start, GROUP):
            group = slice(i, i + GROUP)
            columns = slice(start + i, start + i + GROUP)
            at = (start + i) // GROUP
            free = w[:, columns] - inside[:, group] @ covariances[at]
            choice, _, multipliers = best_removal(free, operators[at])
            kept = table[choice]
            new = (free - multipliers @ covariances[at]) * kept
            inside += (new - w[:, columns]) @ local[group]
            w[:, columns] = new
            mask[:, columns] = kept
        gradient[:, stop:] += (w[:, start:stop] - before) @ hessian[start:stop, stop:]
    return w, mask
