from __future__ import annotations

import numpy as np
import pytest

from tvm_c4n.runtime.logprobs import logprobs_of


def test_they_are_those_of_the_softmax() -> None:
    logits = np.random.default_rng(1).normal(0, 4, 500).astype(np.float32)
    probabilities = np.exp(logits.astype(np.float64))
    expected = np.log(probabilities / probabilities.sum())
    found = logprobs_of(logits, 7, 5)
    assert (found.token, found.logprob) == (7, pytest.approx(expected[7]))
    order = np.argsort(-expected)[:5]
    assert [token for token, _ in found.top] == order.tolist()
    assert [value for _, value in found.top] == pytest.approx(expected[order].tolist())


def test_of_equal_ones_the_lower_comes_first_and_large_logits_do_not_overflow() -> None:
    found = logprobs_of(np.array([1e4, 0.0, 1e4, 1e4]), 1, 2)
    assert found.top == ((0, pytest.approx(-np.log(3))), (2, pytest.approx(-np.log(3))))
    assert found.logprob == pytest.approx(-1e4 - np.log(3))


@pytest.mark.parametrize(("count", "given"), [(0, 0), (9, 3)])
def test_there_are_no_more_than_the_vocabulary_has(count: int, given: int) -> None:
    assert len(logprobs_of(np.zeros(3), 0, count).top) == given
