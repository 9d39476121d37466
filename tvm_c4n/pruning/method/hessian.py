"""The Hessian of a projection's least-squares problem: dampening and its inverse's factor."""

from __future__ import annotations

import torch
from torch import Tensor

from tvm_c4n.errors import C4nError


def damped(statistics: Tensor, dampening_frac: float) -> Tensor:
    """``H + dampening_frac * mean(diag H) * I``; the identity where all inputs were zero."""
    level = float(statistics.diagonal().mean())
    if level <= 0:
        return identity_like(statistics)
    return statistics + dampening_frac * level * identity_like(statistics)


def identity_like(matrix: Tensor) -> Tensor:
    """Return the identity of a matrix's size, dtype and device."""
    return torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def cholesky(hessian: Tensor) -> Tensor:
    """Lower Cholesky factor of a damped Hessian (cols, cols), in float64.

    Raises
    ------
    C4nError
        It is not positive definite.
    """
    lower, info = torch.linalg.cholesky_ex(hessian.double())
    if int(info):
        raise C4nError(
            "calibration statistics are not positive definite; raise dampening_frac in the recipe"
        )
    factor: Tensor = lower
    return factor


def inverse_factor(hessian: Tensor) -> Tensor:
    """Upper Cholesky factor U of H^-1 = U^T U, in float64.

    ``U[i:, i:]`` is the factor of the inverse of H over the columns from i on, which is what a
    sweep from left to right needs at column i. It is the inverse of the upper R of H = R R^T, and
    R is the Cholesky factor of H with its columns and rows in reverse: H^-1 is never formed.

    Parameters
    ----------
    hessian : (cols, cols)
        Damped, so that it is positive definite.

    Raises
    ------
    C4nError
        It is not.
    """
    upper = cholesky(hessian.flip(0, 1)).flip(0, 1)
    factor: Tensor = torch.linalg.solve_triangular(upper, identity_like(upper), upper=True)
    return factor
