"""Texts that take steps together say what each says alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import VOCABULARY
from tests.once import made_once
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import ArtifactError, C4nError
from tvm_c4n.runtime.artifact import MANIFEST
from tvm_c4n.runtime.batch import Batch
from tvm_c4n.runtime.engine import Engine

NAMES = ("small", "hybrid")


@pytest.fixture(scope="module")
def artifacts(
    small_model: Path, hybrid_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A model of scans alone, and one with attention, which reads 64 tokens, for batches."""
    models = zip(NAMES, (small_model, hybrid_model), strict=True)
    return {
        name: made_once(
            tmp_path_factory,
            f"batched/{name}",
            lambda out, model=model: compile_model(model, out, batch=True),
        )
        for name, model in models
    }


@pytest.fixture(scope="module")
def engines(artifacts: dict[str, Path]) -> dict[str, Engine]:
    """The models, loaded."""
    return {name: Engine.load(path) for name, path in artifacts.items()}


def random_ids(seed: int, count: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(1, VOCABULARY, count)]


class Alone:
    """Texts that an engine reads one by one."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.states = engine, {}

    def begin(self, slot: int, ids: list[int]) -> Any:
        self._engine.reset()
        if ids:
            self._engine.prefill(ids)
        self.states[slot] = self._engine.state()
        return self.states[slot]

    def step(self, slot: int, token: int) -> Any:
        self._engine.set_state(self.states[slot])
        logits = self._engine.step(token).copy()
        self.states[slot] = self._engine.state()
        return logits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_texts_come_and_go_and_each_is_as_if_alone(
    engines: dict[str, Engine], name: str, threads: int
) -> None:
    """One to sixteen of them, at different places, in any order of slots."""
    engine, rng = engines[name], np.random.default_rng(threads)
    engine.set_threads(threads)
    batch, alone = Batch(engine, 17), Alone(engine)
    for round_number, count in enumerate((1, 2, 3, 16, 5, 13, 17, 9)):
        slots = [int(slot) for slot in rng.permutation(17)[:count]]
        for slot in slots[: count // 2 + 1]:
            # A text ends, and another one begins in its slot.
            batch.put(slot, alone.begin(slot, random_ids(round_number, slot % 5)))
        for slot in slots:
            if slot not in alone.states:
                alone.begin(slot, [])
        tokens = dict(zip(slots, random_ids(count, count), strict=True))
        found = batch.step(tokens)
        assert list(found) == slots
        for slot, token in tokens.items():
            np.testing.assert_allclose(found[slot], alone.step(slot, token), atol=1e-4)
    for slot, expected in alone.states.items():
        state = batch.state(slot)
        assert state.read == expected.read
        for ours, theirs in zip(state.arrays, expected.arrays, strict=True):
            assert ours.shape == theirs.shape
            difference = ours.astype(float) - theirs
            assert np.abs(difference).max(initial=0) <= (1 if ours.dtype == "uint16" else 1e-4)


def test_logits_stay_what_they_were_and_so_do_idle_slots(engines: dict[str, Engine]) -> None:
    batch = Batch(engines["hybrid"], 3)
    batch.step({0: 5, 1: 6, 2: 7})
    idle = batch.state(1)
    first = batch.step({2: 3, 0: 4})
    kept = {slot: logits.copy() for slot, logits in first.items()}
    batch.step({2: 8})
    assert all(np.array_equal(first[slot], kept[slot]) for slot in kept)
    assert all(map(np.array_equal, batch.state(1).arrays, idle.arrays))
    batch.reset(2)
    assert batch.state(2).read == 0
    assert batch.step({}) == {}
    expected = Batch(engines["hybrid"], 1).step({0: 9})[0]
    np.testing.assert_allclose(batch.step({2: 9})[2], expected, atol=1e-6)


def test_what_a_batch_refuses(engines: dict[str, Engine], small_artifact: Path) -> None:
    engine = engines["hybrid"]
    with pytest.raises(C4nError, match="art runs one text at a time: compile it with --batch"):
        Batch(Engine.load(small_artifact, threads=1), 2)
    for slots in (0, -1, True, 2.0):
        with pytest.raises(C4nError, match=r"slots is .*: give 1 or more"):
            Batch(engine, slots)  # type: ignore[arg-type]
    batch = Batch(engine, 2)
    for slot in (2, -1, True, "0"):
        with pytest.raises(C4nError, match=r"slot .* is none of 0 to 1"):
            batch.step({slot: 1})  # type: ignore[dict-item]
    for token in (VOCABULARY, -1, 1.0, True):
        with pytest.raises(C4nError, match="token"):
            batch.step({0: 1, 1: token})  # type: ignore[dict-item]
    assert [batch.state(slot).read for slot in (0, 1)] == [0, 0]
    engine.reset()
    engine.prefill(random_ids(0, 64))
    batch.put(1, engine.state())
    with pytest.raises(C4nError, match="the text has 65 tokens: this model reads 64 at most"):
        batch.step({0: 1, 1: 1})
    assert [batch.state(slot).read for slot in (0, 1)] == [0, 64]
    with pytest.raises(C4nError, match="the state belongs to another model"):
        batch.put(0, Batch(engines["small"], 1).state(0))
    with engine.alone, pytest.raises(C4nError, match="in use by another thread"):
        batch.step({0: 1})


def test_a_manifest_that_lies_about_its_library(small_artifact: Path, tmp_path: Path) -> None:
    import json
    import shutil

    artifact = Path(shutil.copytree(small_artifact, tmp_path / "art"))
    file = artifact / MANIFEST
    for batch, said in ((32, "cannot be loaded"), (33, "less than or equal to 32")):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"batch": batch}))
        with pytest.raises(ArtifactError, match=said):
            Engine.load(artifact, threads=1)
