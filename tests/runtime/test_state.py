"""A text goes on from a state as it does where it was read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.models import VOCABULARY
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import C4nError
from tvm_c4n.model import states
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.state import State, copied, kept_shape, restore

TEXT = [int(i) for i in np.random.default_rng(2).integers(1, VOCABULARY, 60)]


@pytest.fixture(scope="module")
def engines(small_artifact: Path, hybrid_artifact: Path) -> dict[str, Engine]:
    """A model of scans alone, and one with attention, which reads 64 tokens."""
    return {
        "small": Engine.load(small_artifact, threads=1),
        "hybrid": Engine.load(hybrid_artifact, threads=1),
    }


@pytest.mark.parametrize("name", ["small", "hybrid"])
@pytest.mark.parametrize("read", [0, 1, 17, 59])
def test_a_text_goes_on_as_if_nothing_was_between(
    engines: dict[str, Engine], name: str, read: int
) -> None:
    engine = engines[name]
    engine.reset()
    if read:
        engine.prefill(TEXT[:read])
    state = engine.state()
    assert state.read == read
    expected = [engine.step(token).copy() for token in TEXT[read:]]
    for _ in range(2):  # forked: once set, it is still what it was
        engine.reset()
        engine.prefill(TEXT[::-1])
        engine.set_state(state)
        found = [engine.step(token).copy() for token in TEXT[read:]]
        assert np.array_equal(found, expected)
    assert engine.state().read == len(TEXT)


def test_a_state_holds_nothing_of_another_text(engines: dict[str, Engine]) -> None:
    """Nor does it depend on what the engine read before: files of one text are the same."""
    engine = engines["hybrid"]
    engine.reset()
    engine.prefill(TEXT[:7])
    alone = engine.state()
    engine.reset()
    engine.prefill(TEXT)
    engine.set_state(alone)
    again = engine.state()
    assert all(map(np.array_equal, alone.arrays, again.arrays))


def test_a_ring_is_kept_as_far_as_it_is_filled(engines: dict[str, Engine]) -> None:
    engine = engines["hybrid"]
    names = [spec.name for spec in engine.config.states()]
    engine.reset()
    none = dict(zip(names, engine.state().arrays, strict=True))
    assert none["keys"].size == none["values"].size == 0
    engine.prefill(TEXT[:1])
    one = dict(zip(names, engine.state().arrays, strict=True))
    assert one["keys"][..., :1].all() and not one["keys"][..., 1:].any()
    assert one["values"][:, :, :, :1].all() and not one["values"][:, :, :, 1:].any()


@pytest.mark.parametrize("read", [0, 1, 64, 65, 192])
def test_blocks_of_a_ring_come_back_to_their_places(read: int) -> None:
    """Rings of 3 blocks; the models of these tests have one."""
    specs = (
        states.State("ssm", (2, 5)),
        states.State("keys", (2, 3, 3, 4, 64), "uint16"),
        states.State("values", (2, 3, 3, 64, 4), "uint16"),
    )
    ones = [np.ones(spec.shape, spec.dtype) for spec in specs]
    kept = copied(ones, specs, read)
    assert [array.shape for array in kept] == [kept_shape(spec, read) for spec in specs]
    assert kept[1].size == -(-read // 64) * 2 * 3 * 4 * 64
    target = [np.full(spec.shape, 7, spec.dtype) for spec in specs]
    restore(target, specs, State(kept, read, ""))
    keys = target[1].swapaxes(3, 4).reshape(6, 192, 4)
    values = target[2].reshape(6, 192, 4)
    end = -(-read // 64) * 64  # behind the blocks everything stays: no token sees it
    for ring in (keys, values):
        assert (ring[:, :read] == 1).all()
        assert (ring[:, read:end] == 0).all()
        assert (ring[:, end:] == 7).all()
    assert (target[0] == 1).all()


def test_a_state_cannot_be_changed(engines: dict[str, Engine]) -> None:
    state = engines["small"].state()
    with pytest.raises(ValueError, match="read-only"):
        state.arrays[0][...] = 1


def test_a_state_of_another_model_is_refused(engines: dict[str, Engine]) -> None:
    small, hybrid = engines["small"], engines["hybrid"]
    small.reset()
    with pytest.raises(C4nError, match=r"the state belongs to another model \([0-9a-f]{12}, this"):
        hybrid.set_state(small.state())


def test_a_state_that_does_not_fit_is_refused(engines: dict[str, Engine]) -> None:
    engine = engines["hybrid"]
    engine.reset()
    engine.prefill(TEXT)
    state = engine.state()
    with pytest.raises(C4nError, match="the text has 65 tokens: this model reads 64 at most"):
        engine.set_state(replace(state, read=65))
    with pytest.raises(C4nError, match="the state has 1 arrays"):
        engine.set_state(replace(state, arrays=state.arrays[:1]))
    wide = tuple(array.astype(np.float32) for array in state.arrays)
    with pytest.raises(C4nError, match=r"keys of the state is float32 .*, of the model uint16"):
        engine.set_state(replace(state, arrays=wide))


@pytest.mark.slow
def test_artifacts_share_states_where_these_mean_the_same(
    small_model: Path, small_artifact: Path, tmp_path: Path, engines: dict[str, Engine]
) -> None:
    compile_model(small_model, tmp_path / "again")
    again = Engine.load(tmp_path / "again", threads=1)
    engine = engines["small"]
    engine.reset()
    engine.prefill(TEXT)
    again.set_state(engine.state())
    assert np.array_equal(again.step(3), engine.step(3))
