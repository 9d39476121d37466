"""Perplexity against closed forms, and that each window starts alone."""

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate import Perplexity, perplexity
from tvm_c4n.evaluate.perplexity import negative_log_likelihood, window_for


def uniform(vocab):
    return lambda ids: np.zeros((len(ids), vocab))


def test_uniform_guesses_give_the_vocabulary():
    result = perplexity(uniform(50), np.arange(40), window=10)
    assert result.value == pytest.approx(50)
    assert (result.stderr, result.tokens, result.windows) == (pytest.approx(0), 40, 4)


def test_windows_start_with_the_separator_and_drop_the_rest():
    seen = []

    def score(ids):
        seen.append(ids.tolist())
        return np.zeros((len(ids), 100))

    result = perplexity(score, np.arange(10, 21), window=4, start=7)
    assert seen == [[7, 10, 11, 12], [7, 14, 15, 16]]
    assert result.tokens == 8


def test_a_window_is_not_longer_than_what_the_model_reads():
    assert [window_for(None, context) for context in (None, 4096, 320)] == [1024, 1024, 320]
    assert [window_for(64, context) for context in (None, 64)] == [64, 64]
    said = "windows of 65 tokens: this model reads 64 at most; use --window 64 or less"
    with pytest.raises(C4nError, match=said):
        window_for(65, 64)


def test_value_and_standard_error_by_hand():
    def score(ids):  # the second window's tokens get half the probability of the first's
        logits = np.log(np.array([[0.5, 0.25, 0.25]])).repeat(len(ids), 0)
        return logits

    result = perplexity(score, np.array([0, 0, 1, 1]), window=2)
    mean = (np.log(2) + np.log(4)) / 2
    assert result.value == pytest.approx(np.exp(mean))
    spread = np.std([np.log(2), np.log(4)], ddof=1) / np.sqrt(2)
    assert result.stderr == pytest.approx(np.exp(mean) * spread)


def test_a_short_text_is_one_window():
    result = perplexity(uniform(8), np.array([1, 2, 3]), window=1024)
    assert (result.tokens, result.windows) == (3, 1)
    assert np.isnan(result.stderr)


def test_chosen_windows_are_spread_over_the_text():
    firsts = []

    def score(ids):
        firsts.append(ids[1])
        return np.zeros((len(ids), 100))

    perplexity(score, np.arange(90), window=10, max_windows=3)
    assert firsts == [0, 40, 80]


def test_text_form_and_progress():
    assert str(Perplexity(22.512, 0.1189, 10, 2)) == "PPL = 22.51 +/- 0.12"
    assert str(Perplexity(22.512, float("nan"), 10, 1)) == "PPL = 22.51"  # one window: no spread
    calls = []
    perplexity(uniform(9), np.arange(6), window=3, progress=lambda *a: calls.append(a))
    assert calls == [(1, 2), (2, 2)]


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(negative_log_likelihood(logits, np.array([0, 0])), [0, 1e4])


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((3, 9)), "logits have shape"),
        (np.zeros(9), "logits have shape"),
        (np.zeros((2, 4)), "outside the model's 4 logits"),
        (np.full((2, 9), np.nan), "not finite"),
        (np.full((2, 9), np.inf), "not finite"),
    ],
)
def test_bad_logits_are_refused(logits, message):
    with pytest.raises(C4nError, match=message):
        perplexity(lambda ids: logits, np.array([7, 8]), window=2)


@pytest.mark.parametrize(("ids", "window"), [([], 4), ([1, 2], 0), ([[1]], 4)])
def test_bad_requests_are_refused(ids, window):
    with pytest.raises(C4nError, match="cannot score"):
        perplexity(uniform(9), np.array(ids), window=window)
