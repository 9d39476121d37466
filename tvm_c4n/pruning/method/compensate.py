"""How the kept weights make up for the removed ones: sweeps, exact refit, better masks.

The problem of each row w of a projection: minimise ``(w - w0) H (w - w0)^T`` over rows that obey a
mask, where H = X^T X of the projection's inputs, damped. All functions work on all rows at once;
the loops over groups of the two that choose exactly are `loops.py`, in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.pruning.method.criteria import (
    diagonal_blocks,
    keep_best,
    removal_operators,
    sparsegpt_scores,
)
from tvm_c4n.pruning.method.loops import select_groups
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.sparsity import GROUP
from tvm_c4n.torch_blocks.threads import map_in_threads

# Columns whose updates are gathered before they are applied to the columns on the right: one
# product instead of a rank-1 update of the whole matrix each. More make the updates inside a block
# longer than the calls, fewer make the products too thin.
COLUMN_BLOCK = 32
# Weights that are refitted together: a product with H is long enough for a thread. Fixed, so that
# where a part stops does not depend on the number of threads. (The bytes of a pruned model do, in
# the last digits of the factors of H, which LAPACK computes.)
REFIT_ELEMENTS = 1 << 17


def sweep_sparsegpt(weight: Tensor, factor: Tensor, removed: int) -> tuple[Tensor, Tensor]:
    """Prune as SparseGPT does: a diagonal score per group, then updates column by column.

    Parameters
    ----------
    weight : (rows, cols)
    factor : (cols, cols)
        From `inverse_factor`, in the weight's dtype.
    removed : int
        n, 0..3.

    Returns
    -------
    weight : (rows, cols), mask : (rows, cols) bool
    """
    w = weight.T.contiguous()  # a column lies in one piece
    mask = keep_best(weight, 0).T.contiguous()
    scaled = factor / factor.diagonal()[:, None]
    for start in range(0, len(w) if removed else 0, COLUMN_BLOCK):
        stop = min(start + COLUMN_BLOCK, len(w))
        block, u = w[start:stop], factor[start:stop, start:stop]
        errors = torch.empty_like(block)
        for i, column in enumerate(block):
            if i % GROUP == 0:
                group = slice(i, i + GROUP)
                scores = sparsegpt_scores(block[group].T, u[group, group])
                mask[start + i : start + i + GROUP] = keep_best(scores.contiguous(), removed).T
            torch.mul(column, ~mask[start + i], out=errors[i])
            block[i:].addr_(scaled[start + i, start + i : stop], errors[i], alpha=-1)
        w[stop:].addmm_(scaled[start:stop, stop:].T, errors, alpha=-1)
    return w.T.contiguous(), mask.T.contiguous()


def sweep_joint(weight: Tensor, factor: Tensor, removed: int) -> tuple[Tensor, Tensor]:
    """Prune group by group, each with the exact best of its masks and the joint update.

    Parameters and returns as `sweep_sparsegpt`. The inverse of H over the columns from i on is
    ``U_i^T U_i``, so that the update ``-e [H^-1]_group,:`` is ``-(e U_g^T) U[group, i:]`` with the
    group's 4 x 4 block U_g.
    """
    if removed == 0:
        return weight.clone(), keep_best(weight, 0)
    corners = diagonal_blocks(factor).double()
    covariances = corners.mT @ corners
    operators, gradient = removal_operators(covariances, removed), torch.zeros_like(weight)
    return select_groups(
        weight, gradient, operators, covariances, corners, factor, removed, anew=False
    )


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

    The rows of a part run together, so that a step costs one product with H; preconditioned with
    the diagonal of H. Threads share the parts.

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
        zeros would have, over all rows of a part.
    max_steps : int

    Returns
    -------
    (rows, cols)
        Zero outside the mask.
    """
    parts = -(-weight.numel() // REFIT_ELEMENTS) if on_cpu(weight) else 1

    def part(sides: tuple[Tensor, ...]) -> Tensor:
        weight, mask, start = sides
        return _refit_part(weight, mask, start, hessian, tolerance, max_steps)

    chunks = (side.chunk(parts) for side in (weight, mask, start))
    return torch.cat(map_in_threads(part, zip(*chunks, strict=True)))


def _refit_part(
    weight: Tensor, mask: Tensor, start: Tensor, hessian: Tensor, tolerance: float, max_steps: int
) -> Tensor:
    """Refit some rows together."""
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
    covariances = torch.linalg.inv(diagonal_blocks(hessian).double())
    gradient = times_transposed(current - weight, hessian)
    operators = removal_operators(covariances, removed)
    return select_groups(
        current, gradient, operators, covariances, covariances, hessian, removed, anew=True
    )
