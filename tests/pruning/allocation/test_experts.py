"""What experts lose by how well calibration knows them, and which n they have together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tvm_c4n.pruning.allocation.experts import losses_of_experts, patterns
from tvm_c4n.sparsity import removed_of_each

COLS = 64
FITTED, MASKED = np.array([0.02, 0.1, 0.4]), np.array([0.05, 0.25, 0.8])


def losses(*tokens: int) -> np.ndarray:
    """Losses of experts that are alike but for the tokens that they were given."""
    count = len(tokens)
    errors, masked = (np.repeat(e[:, None], count, 1) for e in (FITTED, MASKED))
    return np.array(losses_of_experts(tokens, COLS, [1.0] * count, errors, masked))


def test_an_expert_that_is_known_has_the_measured_error() -> None:
    found = losses(10**9, 10**9)
    np.testing.assert_allclose(found.sum(0), [0, *FITTED], rtol=1e-6)


def test_one_without_tokens_has_the_error_of_its_mask() -> None:
    found = losses(0, 10**9)
    np.testing.assert_allclose(found[0], [0, *(0.25 * MASKED)], rtol=1e-6)
    np.testing.assert_allclose(found[1], [0, *(0.75 * FITTED)], rtol=1e-6)


def test_one_that_is_hardly_reached_keeps_more_than_one_that_is_known_as_asked() -> None:
    """Experts that are asked alike lose less the better calibration knows them."""
    few = losses(2, 2)
    many = losses(4000, 4000)
    assert (few[:, 1:] > 1.9 * many[:, 1:]).all()
    rare, usual = losses(3, 300)
    assert (rare[1:] > 0.5 * usual[1:]).all()  # a hundredth of the tokens


def test_what_is_asked_more_loses_more() -> None:
    rare, usual = losses(10**6, 9 * 10**6)
    np.testing.assert_allclose(rare[1:] * 7 / 3, usual[1:], rtol=1e-3)


def test_patterns_are_the_best_of_all_that_remove_as_much() -> None:
    rng = np.random.default_rng(0)
    experts = [(0.0, *np.cumsum(np.sort(rng.uniform(size=3)))) for _ in range(5)]

    def loss(each: tuple[int, ...]) -> float:
        return float(sum(own[n] for own, n in zip(experts, each, strict=True)))

    every = list(product(range(4), repeat=5))
    found = patterns(experts, 7)
    assert len(found) == 7
    for pattern in found:
        each = removed_of_each(pattern, 5)
        best = min(loss(other) for other in every if sum(other) == sum(each))
        assert loss(each) == pytest.approx(best)


def test_of_a_loss_that_is_not_convex_the_hull_is_taken() -> None:
    """n=1 of the first loses next to all that n=2 loses: the second waits for both."""
    experts = [(0.0, 1.0, 1.1, 3.0), (0.0, 0.7, 1.4, 3.0)]
    assert patterns(experts, 5) == [(1, 0), (2, 0), (2, 1), (2, 3)]


def test_experts_that_all_lose_nothing_have_patterns_too() -> None:
    assert patterns([(0.0,) * 4] * 3) != []
    assert patterns([]) == []
