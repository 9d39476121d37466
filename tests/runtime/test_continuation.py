"""From logits to tokens, text and the reason why a text ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tvm_c4n.assets import ROOT
from tvm_c4n.errors import C4nError
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer
from tvm_c4n.runtime.continuation import Continuation, check_limit
from tvm_c4n.runtime.sampling import SamplingParams


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return load_tokenizer(ROOT / "mamba-19m")


def sure(token: int) -> NDArray[np.float64]:
    logits = np.zeros(8192)
    logits[token] = 9.0
    return logits


def write(continuation: Continuation, tokens: Sequence[int]) -> list[str]:
    """Let it choose these tokens; returns the pieces."""
    pieces = []
    for token in tokens:
        assert continuation.finish_reason is None
        pieces.append(continuation.put(sure(token)))
    return pieces


def test_the_limit_ends_a_text(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode(" the old bridge")
    found = Continuation(tokenizer, [0], len(ids))
    pieces = write(found, ids)
    assert "".join(pieces) == found.text == tokenizer.decode(ids)
    assert (found.tokens, found.finish_reason, found.stopped_by) == (ids, "length", None)
    assert found.read == len(ids) - 1
    with pytest.raises(C4nError, match="the text has ended"):
        found.put(sure(1))


def test_a_token_that_ends_a_text_is_not_given(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode(" the old bridge")
    found = Continuation(tokenizer, [0], 50)
    write(found, [*ids, tokenizer.ends[0]])
    assert (found.tokens, found.finish_reason) == (ids, "stop")
    assert found.read == len(ids)
    assert found.logits is not None and found.logits.argmax() == tokenizer.ends[0]
    others = Continuation(tokenizer, [0], 50, ends=[ids[1]])
    write(others, ids[:2])
    assert (others.tokens, others.finish_reason) == (ids[:1], "stop")


def test_a_stop_string_ends_a_text_across_tokens(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode(" the old bridge was")
    params = SamplingParams(stop=("d bri",))
    found = Continuation(tokenizer, [0], 50, params)
    given = iter(ids)
    while found.finish_reason is None:
        found.put(sure(next(given)))
    assert (found.text, found.finish_reason, found.stopped_by) == (" the ol", "stop", "d bri")
    assert found.tokens == ids[: len(found.tokens)]
    assert "d bri" not in tokenizer.decode(found.tokens[:-1])
    assert found.read == len(found.tokens) - 1


def test_what_waited_comes_at_the_end(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode(" the old")
    params = SamplingParams(stop=("old bridge",))
    by_limit = Continuation(tokenizer, [0], len(ids), params)
    assert "".join(write(by_limit, ids)) == " the old"
    by_hand = Continuation(tokenizer, [0], 50, params)
    assert "".join(write(by_hand, ids)) == " the "
    assert by_hand.end() == "old"
    assert by_hand.end() == ""
    assert by_hand.text == " the old"
    by_end = Continuation(tokenizer, [0], 50, params)
    assert "".join(write(by_end, [*ids, tokenizer.ends[0]])) == " the old"


def test_half_a_character_waits_and_is_shown_broken_at_the_end(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("\u2603")  # more than one token: no such character was in the training
    assert len(ids) > 1
    found = Continuation(tokenizer, [0], len(ids))
    pieces = write(found, ids)
    assert pieces[:-1] == [""] * (len(ids) - 1) and pieces[-1].strip() == "\u2603"
    cut = Continuation(tokenizer, [0], 1)
    assert write(cut, ids[:1]) == [tokenizer.decode(ids[:1])]


def test_tokens_alone_need_no_tokenizer() -> None:
    found = Continuation(None, [0], 3)
    assert write(found, [5, 6, 7]) == ["", "", ""]
    assert (found.tokens, found.text, found.finish_reason) == ([5, 6, 7], "", "length")


@pytest.mark.parametrize(("asked", "given"), [(None, []), (0, [0, 0]), (2, [2, 2])])
def test_logprobs_are_kept_if_asked_for(asked: int | None, given: list[int]) -> None:
    found = Continuation(None, [0], 2, SamplingParams(logprobs=asked))
    write(found, [5, 6])
    assert [len(one.top) for one in found.logprobs] == given
    assert [one.token for one in found.logprobs] == [5, 6][: len(given)]


def test_penalties_see_the_prompt(tokenizer: TextTokenizer) -> None:
    params: dict[str, Any] = {"repeat_penalty": 100.0}
    found = Continuation(tokenizer, [7], 2, SamplingParams(**params))
    logits = sure(7)
    logits[8] = 1.0
    found.put(logits)
    assert found.tokens == [8]


@pytest.mark.parametrize("limit", [0, -3])
def test_asking_for_no_tokens_is_an_error(limit: int) -> None:
    for refused in (lambda: check_limit(limit), lambda: Continuation(None, [0], limit)):
        with pytest.raises(C4nError, match=f"cannot generate {limit} tokens; use 1 or more"):
            refused()
