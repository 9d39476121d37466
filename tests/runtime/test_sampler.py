from collections import Counter

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.sampler import Sampler, candidates, penalised
from tvm_c4n.runtime.sampling import SamplingParams

LOGITS = np.array([0.0, 1.0, 3.0, 3.0, -2.0], np.float32)


def test_temperature_zero_takes_the_lowest_of_the_most_likely():
    assert Sampler()(LOGITS) == 2


def test_draws_follow_the_softmax():
    sampler = Sampler(SamplingParams(temperature=2.0, seed=1))
    draws = np.bincount([sampler(LOGITS) for _ in range(20_000)], minlength=5) / 20_000
    expected = np.exp(LOGITS / 2.0) / np.exp(LOGITS / 2.0).sum()
    # Five standard errors of a share of 20000 draws.
    assert np.abs(draws - expected).max() < 5 * np.sqrt(0.25 / 20_000)


def test_a_seed_fixes_the_draws_and_another_changes_them():
    def draw(seed):
        sampler = Sampler(SamplingParams(temperature=1.0, seed=seed, top_k=4, min_p=0.01))
        return [sampler(LOGITS) for _ in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_a_tiny_temperature_is_greedy_and_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        sampler = Sampler(SamplingParams(temperature=1e-6))
        assert sampler(np.array([1.0, 500.0, 2.0])) == 1


def test_a_token_of_no_weight_is_never_drawn():
    sampler = Sampler(SamplingParams(temperature=1.0))
    logits = np.array([-1e4, 0.0, -1e4, 0.0, -1e4])
    assert {sampler(logits) for _ in range(300)} == {1, 3}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_refused(bad, temperature):
    with pytest.raises(C4nError, match="not finite"):
        Sampler(SamplingParams(temperature=temperature))(np.array([0.0, bad]))


# What transformers applies, in llama.cpp's order, which has the temperature last.
CASES = [
    {"top_k": 5},
    {"top_k": 1},
    {"top_k": 5000},
    {"top_p": 0.9},
    {"top_p": 0.05},
    {"top_p": 0.0},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"repeat_penalty": 1.3},
    {"repeat_penalty": 0.7, "repeat_last_n": 5},
    {"repeat_penalty": 2.0, "repeat_last_n": -1},
    {
        "repeat_penalty": 1.3, "repeat_last_n": 7, "top_k": 50, "top_p": 0.8, "min_p": 0.05,
        "temperature": 0.6,
    },
]  # fmt: skip


@pytest.mark.parametrize("given", CASES, ids=str)
def test_steps_are_those_of_transformers(given):
    torch = pytest.importorskip("torch")
    from transformers.generation import logits_process as steps

    rng = np.random.default_rng(8)
    text = rng.integers(0, 200, 90).tolist()
    params = SamplingParams(**{"temperature": 1.0, **given})
    window = {-1: text}.get(params.repeat_last_n, text[-params.repeat_last_n :])
    chain = [
        steps.RepetitionPenaltyLogitsProcessor(params.repeat_penalty),
        *([steps.TopKLogitsWarper(params.top_k)] if params.top_k else []),
        *([steps.TopPLogitsWarper(params.top_p)] if params.top_p < 1 else []),
        *([steps.MinPLogitsWarper(params.min_p)] if params.min_p else []),
        steps.TemperatureLogitsWarper(params.temperature),
    ]
    for _ in range(5):
        logits = rng.normal(0, 3, 200)
        scores = torch.tensor(logits[None])
        for step in chain:
            scores = step(torch.tensor([window]), scores)
        expected = torch.softmax(scores, -1)[0].numpy()

        changed = penalised(logits, window, params) if params.penalises else logits
        kept = candidates(changed, params)
        kept = np.arange(200) if kept is None else kept
        found = np.zeros(200)
        found[kept] = np.exp(changed[kept] / params.temperature)
        np.testing.assert_allclose(found / found.sum(), expected, rtol=1e-9, atol=1e-12)


def test_draws_are_of_the_candidates_in_their_shares():
    params = SamplingParams(temperature=0.5, top_k=3, seed=2)
    sampler = Sampler(params)
    drawn = Counter(sampler(LOGITS) for _ in range(8000))
    shares = np.exp(LOGITS[1:4].astype(float) / 0.5)
    shares /= shares.sum()
    assert set(drawn) == {1, 2, 3}
    for token, share in zip((1, 2, 3), shares, strict=True):
        assert abs(drawn[token] / 8000 - share) < 5 * np.sqrt(0.25 / 8000)


def test_tokens_that_were_drawn_come_into_the_window_and_leave_it():
    # 3.0 / 2 is less than 2.0: each token is left alone until the other has pushed it out.
    params = SamplingParams(repeat_penalty=2.0, repeat_last_n=1)
    sampler = Sampler(params, text=[0, 1])
    logits = np.array([0.0, 3.0, 2.0])
    assert [sampler(logits) for _ in range(4)] == [2, 1, 2, 1]


def test_penalties_count_what_stands_in_the_window():
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    found = penalised(np.array([1.0, 1.0, -1.0]), [0, 0, 2], params)
    assert found.tolist() == [1.0 - 0.5 - 2 * 0.25, 1.0, -1.0 - 0.5 - 0.25]
    assert penalised(np.ones(3), [], params).tolist() == [1, 1, 1]


def test_a_greedy_text_is_penalised_too():
    params = SamplingParams(repeat_penalty=10.0)
    assert Sampler(params, text=[2])(LOGITS) == 3


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.9, 0.9999999, 1 - 1e-12])
def test_top_p_is_that_of_a_full_sort(spread, top_p):
    # A large vocabulary, of which all, some or one token matters.
    logits = np.random.default_rng(1).standard_normal(20_000) * spread
    order = np.argsort(logits, kind="stable")
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    gone = int(np.count_nonzero(np.cumsum(probabilities[order]) <= 1 - top_p))
    wanted = np.sort(order[min(gone, len(order) - 1) :])
    found = candidates(logits, SamplingParams(temperature=1.0, top_p=top_p))
    # The sums are rounded in another order: a token at the very border may stay or go.
    assert len(np.setxor1d(found, wanted)) <= 1
