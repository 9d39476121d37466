"""Log-probabilities of a text's tokens: those of logits that are there at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.perplexity import perplexity
from tvm_c4n.evaluate.text_score import TextScore, score_tokens
from tvm_c4n.runtime.engine import Engine

IDS = np.random.default_rng(4).integers(1, 96, 300)


@pytest.fixture(scope="module")
def engine(small_artifact: Path) -> Engine:
    return Engine.load(small_artifact, threads=1)


def slow(engine: Engine, before: list[int], ids: list[int]) -> list[float]:
    """Step token by token, and take each one's probability from the softmax before it."""
    engine.reset()
    for token in before:
        logits = engine.step(int(token))
    found = []
    for token in ids:
        wide = np.asarray(logits, np.float64)
        found.append(float(wide[token] - np.log(np.exp(wide - wide.max()).sum()) - wide.max()))
        logits = engine.step(int(token))
    return found


@pytest.mark.parametrize("before", [[0], [0, 5, 6, 7]])
def test_each_token_is_scored_after_those_before_it(engine: Engine, before: list[int]) -> None:
    ids = [int(token) for token in IDS]
    assert len(ids) > engine.manifest.chunk  # so that logits come in two parts
    found = score_tokens(engine, ids, before)
    assert (found.tokens.dtype, found.logprobs.dtype) == (np.int32, np.float64)
    assert found.tokens.tolist() == ids
    np.testing.assert_allclose(found.logprobs, slow(engine, before, ids), atol=1e-4)
    assert found.logprob == pytest.approx(found.logprobs.sum())


def test_the_perplexity_is_that_of_one_window(engine: Engine) -> None:
    def score(ids: np.ndarray) -> np.ndarray:
        engine.reset()
        return engine.score(ids)

    found = score_tokens(engine, IDS, [0])
    assert found.perplexity == pytest.approx(perplexity(score, IDS, len(IDS)).value, rel=1e-9)


def test_a_text_that_cannot_be_has_no_finite_perplexity() -> None:
    assert TextScore(np.zeros(1, np.int32), np.array([-1000.0])).perplexity == float("inf")


@pytest.mark.parametrize(("ids", "before"), [([], [0]), ([1], []), ([96], [0]), ([1], [1.5])])
def test_tokens_that_are_none_are_refused(engine: Engine, ids: list, before: list) -> None:
    with pytest.raises(C4nError, match=r"no tokens to read|outside the vocabulary|no integer"):
        score_tokens(engine, ids, before)


def test_a_text_too_long_is_refused(hybrid_artifact: Path) -> None:
    engine = Engine.load(hybrid_artifact, threads=1)
    assert len(score_tokens(engine, [1] * 64, [0]).logprobs) == 64
    with pytest.raises(C4nError, match="the text has 65 tokens: this model reads 64 at most"):
        score_tokens(engine, [1] * 65, [0])
