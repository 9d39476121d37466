"""A text, its continuation, and what is kept of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.answer import answer, read_to_end
from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import Stats, generate_tokens
from tvm_c4n.runtime.prefix_cache import PrefixCache
from tvm_c4n.runtime.sampling import SamplingParams

PROMPT = [0, 5, 6, 7, 8]


@pytest.fixture(scope="module")
def engine(small_artifact: Path) -> Engine:
    return Engine.load(small_artifact, threads=1)


def run(
    engine: Engine, cache: PrefixCache, ids: list[int], limit: int = 6, **params: object
) -> tuple[Continuation, Stats]:
    given = SamplingParams(**params)  # type: ignore[arg-type]
    found = Continuation(engine.tokenizer, ids, limit, given, ends=())
    stats = Stats()
    assert "".join(answer(engine, cache, ids, found, stats)) == found.text
    return found, stats


def test_turns_are_those_of_one_text_and_read_what_is_new(engine: Engine) -> None:
    cache = PrefixCache()
    first, stats = run(engine, cache, PROMPT)
    assert first.tokens == list(generate_tokens(engine, PROMPT, 6))
    assert (stats.prompt_tokens, stats.cached_tokens, stats.tokens) == (5, 0, 6)
    longer = [*PROMPT, *first.tokens, 9, 10]
    second, stats = run(engine, cache, longer)
    assert second.tokens == list(generate_tokens(engine, longer, 6))
    # The last token of the answer was not read, nor were the two that follow.
    assert (stats.prompt_tokens, stats.cached_tokens) == (3, 5 + 5)
    # Another answer to the first prompt: nothing is read.
    again, stats = run(engine, cache, PROMPT)
    assert again.tokens == first.tokens
    assert (stats.prompt_tokens, stats.cached_tokens) == (0, 5)


def by_end(engine: Engine, cache: PrefixCache) -> Continuation:
    third = list(generate_tokens(engine, PROMPT, 3))[2]
    found = Continuation(engine.tokenizer, PROMPT, 6, ends=[third])
    list(answer(engine, cache, PROMPT, found, Stats()))
    return found


def by_stop_string(engine: Engine, cache: PrefixCache) -> Continuation:
    whole, _ = run(engine, PrefixCache(), PROMPT)
    return run(engine, cache, PROMPT, stop=(whole.text[4:6],))[0]


def by_hand(engine: Engine, cache: PrefixCache) -> Continuation:
    found = Continuation(engine.tokenizer, PROMPT, 6, ends=())
    for _ in answer(engine, cache, PROMPT, found, Stats()):
        if len(found.tokens) == 3:
            found.end()
    return found


@pytest.mark.parametrize("how", [by_end, by_stop_string, by_hand])
def test_however_a_text_ends_what_was_read_of_it_is_kept(
    engine: Engine, how: Callable[[Engine, PrefixCache], Continuation]
) -> None:
    cache = PrefixCache()
    found = how(engine, cache)
    assert 0 < len(found.tokens) < 6
    read = [*PROMPT, *found.tokens[: found.read]]
    assert engine.state().read == len(read)
    kept = cache.longest(read, engine.fingerprint)
    assert kept is not None and kept.state.read == len(read)
    ids, last = read_to_end(engine, PROMPT, found)
    assert ids == [*PROMPT, *found.tokens]
    assert last.state.read == len(ids)
    engine.reset()
    expected = engine.prefill(ids)
    assert np.abs(last.logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_a_text_too_long_is_refused_before_it_is_continued(hybrid_artifact: Path) -> None:
    engine = Engine.load(hybrid_artifact, threads=1)
    found = Continuation(engine.tokenizer, [1] * 65, 6)
    with pytest.raises(C4nError, match="the text has 65 tokens: this model reads 64 at most"):
        next(answer(engine, PrefixCache(), [1] * 65, found, Stats()))
