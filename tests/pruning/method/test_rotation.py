"""The gradient against differences in float64, and a planted basis that is found again."""

import pytest
import torch

from tvm_c4n.pruning.method.rotation import (
    Reader,
    cayley,
    find_rotation,
    nearest_rotation,
    share_gradient,
    smallest,
)


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_the_smallest_of_each_group_go(removed):
    scores = torch.rand(9, 32, generator=torch.Generator().manual_seed(removed))
    found = smallest(scores, removed).view(9, 8, 4)
    assert (found.sum(-1) == removed).all()
    grouped = scores.view(9, 8, 4)
    gone = torch.where(found.bool(), grouped, 0).amax(-1)
    assert (gone < torch.where(found.bool(), 2, grouped).amin(-1)).all()


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_the_gradient_is_that_of_differences(problem, removed):
    weight, hessian = problem(6, 8)
    reader = Reader(weight, torch.linalg.inv(hessian), removed)
    generator = torch.Generator().manual_seed(1)
    skew, along = (torch.randn(8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    place, step = cayley(skew - skew.T), 1e-6
    _, gradient = share_gradient(place, reader)
    high, low = (share_gradient(place + sign * step * along, reader)[0] for sign in (1, -1))
    assert (gradient * along).sum() == pytest.approx((high - low) / (2 * step), rel=1e-5)


def test_a_planted_basis_is_found_again():
    generator = torch.Generator().manual_seed(0)
    sparse = torch.randn(200, 32, generator=generator)
    sparse *= torch.rand(200, 8, 4, generator=generator).argsort(-1).flatten(1) < 2
    hidden = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0]
    reader = Reader(sparse @ hidden, torch.eye(32), 2)
    calls = []
    found = find_rotation([reader], 0, lambda: calls.append(1))
    torch.testing.assert_close(found @ found.T, torch.eye(32), atol=1e-5, rtol=0)
    before, after = (share_gradient(place, reader)[0] for place in (torch.eye(32), found))
    assert after < 0.7 * before
    assert torch.equal(found, find_rotation([reader], 0)) and len(calls) == 1


def test_what_rounding_added_is_taken_out():
    generator = torch.Generator().manual_seed(0)
    exact = torch.linalg.qr(torch.randn(40, 40, generator=generator, dtype=torch.float64))[0]
    found = nearest_rotation((exact + 1e-4 * torch.randn(40, 40, generator=generator)).float())
    torch.testing.assert_close(found @ found.T, torch.eye(40), atol=1e-6, rtol=0)
