"""Dampening, and the factor of the inverse."""

import pytest
import torch

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.method.hessian import damped, inverse_factor


def test_inverse_factor_gives_the_inverse_of_every_tail(problem):
    _, hessian = problem(1, 12)
    factor = inverse_factor(hessian)
    assert torch.equal(factor, factor.triu())
    for i in (0, 4, 9):
        tail = factor[i:, i:]
        torch.testing.assert_close(tail.T @ tail, torch.linalg.inv(hessian[i:, i:]))


def test_inverse_factor_refuses_what_is_not_positive_definite():
    with pytest.raises(C4nError, match="raise dampening_frac"):
        inverse_factor(torch.zeros(4, 4))


def test_damping_is_relative_to_the_mean_of_the_diagonal():
    statistics = torch.diag(torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(damped(statistics, 0.5), torch.diag(torch.tensor([2.0, 4.0])))
    assert torch.equal(damped(torch.zeros(2, 2), 0.5), torch.eye(2))
