"""Texts of one engine: one at a time, from the start or behind a state, and what ends them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import generate_tokens
from tvm_c4n.runtime.prefix_cache import LIMIT_BYTES
from tvm_c4n.runtime.sampling import GREEDY
from tvm_c4n.runtime.texts import Text, Texts

# The small model's text after it is long.
PROMPT = [0, 2, 9, 7, 8]


@pytest.fixture(scope="module")
def engine(small_artifact: Path) -> Engine:
    return Engine.load(small_artifact, threads=1)


@pytest.fixture
def texts(engine: Engine) -> Texts:
    return Texts(engine, LIMIT_BYTES)


def greedy(engine: Engine, prompt: list[int], limit: int) -> list[int]:
    return list(generate_tokens(engine, prompt, limit, ends=engine.tokenizer.ends))


def rest(texts: Texts, text: Text) -> list[int]:
    while texts.next(text) is not None:
        pass
    return text.continuation.tokens


def tokens(texts: Texts, prompt: list[int], limit: int = 6) -> list[int]:
    return rest(texts, texts.begin(prompt, limit, GREEDY))


def test_a_prompt_is_read_in_parts_with_the_same_logits(engine: Engine, texts: Texts) -> None:
    chunk = engine.manifest.chunk
    long = [0, *(int(t) for t in np.random.default_rng(2).integers(1, 96, 2 * chunk + 10))]
    text = texts.begin(long, 6, GREEDY)
    assert [texts.next(text) for _ in range(2)] == ["", ""]
    assert (text.stats.prompt_tokens, text.continuation.tokens) == (2 * chunk, [])
    assert rest(texts, text) == greedy(engine, long, 6)
    assert text.stats.prompt_tokens == len(long)
    engine.reset()
    assert np.array_equal(engine.prefill(long), texts._cache.read(engine, long).logits)


def test_a_kept_text_is_not_read_again_unless_nothing_is_kept(engine: Engine) -> None:
    for cache_bytes, read in ((LIMIT_BYTES, 0), (0, len(PROMPT))):
        texts = Texts(engine, cache_bytes)
        first = tokens(texts, PROMPT)
        again = texts.begin(PROMPT, 6, GREEDY)
        assert rest(texts, again) == first
        assert (again.stats.prompt_tokens, again.stats.cached_tokens) == (read, 5 - read)


def test_another_text_ends_the_one_before_it(texts: Texts) -> None:
    first, second = (texts.begin(PROMPT, 6, GREEDY) for _ in range(2))
    texts.next(first)
    assert texts.last is first
    texts.next(second)
    with pytest.raises(C4nError, match="the model did something else before this text ended"):
        texts.next(first)
    rest(texts, second)
    with texts.alone():
        pass
    assert texts.last is None
    with pytest.raises(C4nError, match="the model did something else"):
        texts.next(second)


def test_threads_take_turns_and_are_not_refused(engine: Engine, texts: Texts) -> None:
    expected = greedy(engine, PROMPT, 40)
    assert len(expected) == 40
    text = texts.begin(PROMPT, 40, GREEDY)
    errors: list[Exception] = []

    def take() -> None:
        try:
            rest(texts, text)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, text.continuation.tokens) == ([], expected)


def test_the_state_of_a_text_has_its_last_token_and_leaves_it_alone(
    engine: Engine, texts: Texts
) -> None:
    expected = greedy(engine, PROMPT, 6)
    text = texts.begin(PROMPT, 6, GREEDY)
    for _ in range(3):
        texts.next(text)
    state = texts.state()
    assert state.read == len(PROMPT) + 3
    assert rest(texts, text) == expected
    assert texts.state().read == len(PROMPT) + 6
    texts.set_follow(state)
    # The third token was read by then: what follows it is what came.
    assert tokens(texts, expected[3:4], 2) == expected[4:6]
    texts.set_follow(None)
    assert tokens(texts, PROMPT) == expected


def test_a_state_is_read_for_and_followed_any_number_of_times(engine: Engine, texts: Texts) -> None:
    state = texts.state_after(PROMPT)
    assert state.read == 5
    texts.set_follow(state)
    for more in ([9], [10, 11], [9]):
        text = texts.begin(more, 4, GREEDY)
        assert rest(texts, text) == greedy(engine, [*PROMPT, *more], 4)
        assert (text.stats.prompt_tokens, text.stats.cached_tokens) == (len(more), 5)
    assert texts.state_after([9, 10]).read == 7


def test_a_limit_is_cut_to_the_room_that_the_model_has(hybrid_artifact: Path) -> None:
    texts = Texts(Engine.load(hybrid_artifact, threads=1), 0)
    text = texts.begin([1] * 60, 50, GREEDY)
    # The last token is not read.
    assert (len(rest(texts, text)), text.continuation.finish_reason) == (5, "length")
    texts.set_follow(texts.state_after([1] * 60))
    assert len(tokens(texts, [2, 3], 50)) == 3
    for prompt in ([1] * 5, [1] * 65):
        with pytest.raises(C4nError, match=r"the text has \d+ tokens: this model reads 64 at most"):
            texts.begin(prompt, 5, GREEDY)


def test_what_is_asked_for_is_checked_before_anything_is_read(
    texts: Texts, hybrid_artifact: Path
) -> None:
    other = Texts(Engine.load(hybrid_artifact, threads=1), 0).state_after(PROMPT)
    for wrong, message in (
        (lambda: texts.begin([], 5, GREEDY), "no tokens to read"),
        (lambda: texts.begin([96], 5, GREEDY), "token 96 is outside the vocabulary of 96"),
        (lambda: texts.begin(PROMPT, 0, GREEDY), "cannot generate 0 tokens; use 1 or more"),
        (texts.state, r"there is no text yet: generate one, or give state\(\) one to read"),
        (lambda: texts.set_follow(other), "the state belongs to another model"),
    ):
        with pytest.raises(C4nError, match=message):
            wrong()
    assert (texts.last, texts.follow) == (None, None)


def test_nothing_is_done_after_close(engine: Engine) -> None:
    texts = Texts(engine, LIMIT_BYTES)
    text = texts.begin(PROMPT, 6, GREEDY)
    texts.next(text)
    texts.close()
    texts.close()
    assert texts.closed
    for use in (
        lambda: texts.next(text),
        lambda: texts.begin(PROMPT, 6, GREEDY),
        texts.state,
        lambda: texts.set_follow(None),
        lambda: texts.state_after(PROMPT),
    ):
        with pytest.raises(C4nError, match="the model is closed; open it again"):
            use()
