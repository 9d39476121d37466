"""Dampening, and the factor of the inverse that a column sweep needs."""

import pytest
import torch

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.method.hessian import damped, inverse_factor


def test_dampening_adds_a_share_of_the_mean_diagonal(problem):
    _, statistics = problem(4, 12)
    found = damped(statistics, 0.01)
    extra = 0.01 * statistics.diagonal().mean()
    torch.testing.assert_close(found - statistics, extra * torch.eye(12, dtype=torch.float64))


def test_inputs_that_were_all_zero_count_alike():
    assert torch.equal(damped(torch.zeros(3, 3), 0.01), torch.eye(3))


def test_the_factor_of_the_remaining_columns_is_its_lower_right_part(problem):
    _, statistics = problem(4, 12)
    hessian = damped(statistics, 0.01)
    factor = inverse_factor(hessian)
    assert torch.equal(factor, factor.triu())
    for column in (0, 5, 11):
        rest = factor[column:, column:]
        expected = torch.linalg.inv(hessian[column:, column:])
        torch.testing.assert_close(rest.T @ rest, expected, rtol=1e-8, atol=1e-10)


def test_what_is_not_positive_definite_is_refused_with_the_remedy():
    with pytest.raises(C4nError, match="not positive definite; raise dampening_frac"):
        inverse_factor(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
