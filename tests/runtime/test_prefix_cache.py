"""A text that begins like one that was read is read from there on, with the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models import VOCABULARY
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.prefix_cache import PrefixCache
from tvm_c4n.runtime.state import State
from tvm_c4n.runtime.tokens import Ids

TEXT = [int(i) for i in np.random.default_rng(4).integers(1, VOCABULARY, 60)]
# Where chunks of a prompt begin elsewhere, sums are taken in another order.
CLOSE = 2e-5


class Counted:
    """An engine that says how many tokens it was given to read."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.read = engine, 0
        self.fingerprint = engine.fingerprint

    def reset(self) -> None:
        self.engine.reset()

    def prefill(self, ids: Ids) -> NDArray[np.float32]:
        self.read += len(ids)
        return self.engine.prefill(ids)

    def step(self, token: int) -> NDArray[np.float32]:
        self.read += 1
        return self.engine.step(token)

    def state(self) -> State:
        return self.engine.state()

    def set_state(self, state: State) -> None:
        self.engine.set_state(state)


@pytest.fixture(scope="module", params=["default", "float32", "hybrid"])
def engine(
    request: pytest.FixtureRequest, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Engine:
    if request.param == "float32":
        path = tmp_path_factory.mktemp("float32") / "art"
        compile_model(small_model, path, dtype="float32")
    else:
        name = {"default": "small_artifact", "hybrid": "hybrid_artifact"}[request.param]
        path = request.getfixturevalue(name)
    return Engine.load(path, threads=1)


def whole(engine: Engine, ids: list[int]) -> NDArray[np.float32]:
    engine.reset()
    return engine.prefill(ids).copy()


def test_a_second_turn_reads_its_new_tokens_only(engine: Engine) -> None:
    cache, counted = PrefixCache(), Counted(engine)
    first = cache.read(counted, TEXT[:30])
    assert (first.cached, first.read, counted.read) == (0, 30, 30)
    # The answer: read token by token, but for the last one.
    logits = first.logits
    for token in TEXT[30:40]:
        logits = counted.step(token)
    cache.keep(TEXT[:40], counted.state(), logits)
    counted.read = 0

    second = cache.read(counted, TEXT)

    assert (second.cached, second.read, counted.read) == (40, 20, 20)
    engine.reset()
    engine.prefill(TEXT[:30])
    for token in TEXT[30:40]:
        engine.step(token)
    assert np.array_equal(second.logits, engine.prefill(TEXT[40:]))
    expected = whole(engine, TEXT)
    assert np.abs(second.logits - expected).max() <= CLOSE * np.abs(expected).max()
    assert int(second.logits.argmax()) == int(expected.argmax())


def test_an_answer_that_is_written_otherwise_leaves_the_earlier_prompt(engine: Engine) -> None:
    cache, counted = PrefixCache(), Counted(engine)
    cache.read(counted, TEXT[:30])
    logits = counted.step(5)
    cache.keep([*TEXT[:30], 5], counted.state(), logits)
    counted.read = 0
    found = cache.read(counted, [*TEXT[:30], 6, *TEXT[31:]])
    assert (found.cached, counted.read) == (30, 30)


def test_a_whole_text_that_is_kept_is_not_read_again(engine: Engine) -> None:
    cache, counted = PrefixCache(), Counted(engine)
    first = cache.read(counted, TEXT)
    counted.step(3)
    counted.read = 0
    again = cache.read(counted, TEXT)
    assert (again.cached, again.read, counted.read) == (60, 0, 0)
    assert np.array_equal(again.logits, first.logits)
    assert engine.state().read == 60


def test_a_prompt_is_forked_into_many(engine: Engine) -> None:
    """Each goes on from the one state: what another one wrote in between leaves no trace."""
    cache = PrefixCache()
    cache.read(engine, TEXT[:40])
    expected = {}
    for token in (1, 2, 3):
        engine.reset()
        engine.prefill(TEXT[:40])
        expected[token] = engine.step(token).copy()
    for token in (3, 1, 2, 1):
        assert cache.resume(engine, TEXT[:40]) == 0
        assert np.array_equal(engine.step(token), expected[token])


def test_borders_are_kept_for_texts_that_go_on_otherwise(small_artifact: Path) -> None:
    cache, counted = PrefixCache(), Counted(Engine.load(small_artifact, threads=1))
    cache.read(counted, TEXT, borders=[20, 60, 99])
    assert len(cache) == 2
    counted.read = 0
    assert cache.read(counted, [*TEXT[:20], 7, 8]).cached == 20
    assert counted.read == 2


def test_what_is_not_kept_is_read_from_the_start(small_artifact: Path) -> None:
    engine = Engine.load(small_artifact, threads=1)
    cache = PrefixCache()
    assert cache.resume(engine, TEXT) == 60
    assert engine.state().read == 0
    cache.read(engine, TEXT)
    assert cache.resume(engine, TEXT[:59]) == 59  # longer texts are of no use
    assert cache.resume(engine, TEXT[1:]) == 59
    cache.clear()
    assert cache.resume(engine, TEXT) == 60
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_states_of_another_model_are_not_taken(small_artifact: Path, hybrid_artifact: Path) -> None:
    cache = PrefixCache()
    cache.read(Engine.load(small_artifact, threads=1), TEXT)
    assert cache.resume(Engine.load(hybrid_artifact, threads=1), TEXT) == 60


def test_the_states_that_were_not_used_for_longest_go_first(small_artifact: Path) -> None:
    engine = Engine.load(small_artifact, threads=1)
    one = engine.state().size_bytes + 4 * VOCABULARY
    cache = PrefixCache(limit_bytes=2 * one)
    cache.read(engine, TEXT[:10])
    cache.read(engine, TEXT[10:20])
    assert cache.size_bytes == 2 * one
    assert cache.resume(engine, TEXT[:11]) == 1  # used: the other one goes
    cache.read(engine, TEXT[20:30])
    assert (len(cache), cache.size_bytes) == (2, 2 * one)
    assert cache.resume(engine, TEXT[:10]) == 0
    assert cache.resume(engine, TEXT[10:20]) == 10
    cache.read(engine, TEXT[20:30])  # kept once
    assert len(cache) == 2
    for limit, kept in ((one - 1, 0), (0, 0), (one, 1)):
        small = PrefixCache(limit)
        small.read(engine, TEXT)
        assert len(small) == kept


def test_what_makes_no_sense_is_refused(small_artifact: Path) -> None:
    engine, cache = Engine.load(small_artifact, threads=1), PrefixCache()
    with pytest.raises(C4nError, match="cannot keep states in -1 bytes"):
        PrefixCache(-1)
    with pytest.raises(C4nError, match="has read 0 tokens, not the 2 given"):
        cache.keep([1, 2], engine.state(), np.zeros(VOCABULARY))
    for wrong, said in (([], "no tokens"), ([1.5], "no integer"), ([1 << 40], "outside"), (3, "3")):
        with pytest.raises(C4nError, match=said):
            cache.read(engine, wrong)  # type: ignore[arg-type]
    with pytest.raises(C4nError, match=f"outside the vocabulary of {VOCABULARY}"):
        cache.read(engine, [VOCABULARY])
