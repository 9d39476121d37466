import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.sampler import Sampler

LOGITS = np.array([0.0, 1.0, 3.0, 3.0, -2.0], np.float32)


def test_temperature_zero_takes_the_lowest_of_the_most_likely():
    assert Sampler(0.0)(LOGITS) == 2


def test_draws_follow_the_softmax():
    sampler = Sampler(temperature=2.0, seed=1)
    draws = np.bincount([sampler(LOGITS) for _ in range(20_000)], minlength=5) / 20_000
    expected = np.exp(LOGITS / 2.0) / np.exp(LOGITS / 2.0).sum()
    # Five standard errors of a share of 20000 draws.
    assert np.abs(draws - expected).max() < 5 * np.sqrt(0.25 / 20_000)


def test_a_seed_fixes_the_draws_and_another_changes_them():
    def draw(seed):
        sampler = Sampler(1.0, seed)
        return [sampler(LOGITS) for _ in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_a_tiny_temperature_is_greedy_and_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        assert Sampler(1e-6)(np.array([1.0, 500.0, 2.0])) == 1


def test_a_token_of_no_weight_is_never_drawn():
    sampler = Sampler(1.0, seed=0)
    logits = np.array([-1e4, 0.0, -1e4, 0.0, -1e4])
    assert {sampler(logits) for _ in range(300)} == {1, 3}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_refused(bad, temperature):
    with pytest.raises(C4nError, match="not finite"):
        Sampler(temperature)(np.array([0.0, bad]))


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_a_bad_temperature_is_refused(temperature):
    with pytest.raises(C4nError, match="temperature"):
        Sampler(temperature)


def test_a_negative_seed_is_refused():
    with pytest.raises(C4nError, match="seed"):
        Sampler(1.0, -1)
