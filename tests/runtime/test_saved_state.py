"""State files come back as they were, for their model alone, or are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import VOCABULARY
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.checkpoint.state_file import read_state, write_state
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.prefix_cache import Kept
from tvm_c4n.runtime.saved_state import load_state, save_state

TEXT = [int(i) for i in np.random.default_rng(6).integers(1, VOCABULARY, 50)]
MESSAGES = [{"role": "user", "content": "w1 \u2603"}, {"role": "assistant", "content": ""}]


@pytest.fixture(scope="module")
def engines(small_artifact: Path, hybrid_artifact: Path) -> dict[str, Engine]:
    return {
        "small": Engine.load(small_artifact, threads=1),
        "hybrid": Engine.load(hybrid_artifact, threads=1),
    }


def saved(engine: Engine, path: Path) -> Path:
    engine.reset()
    logits = engine.prefill(TEXT)
    save_state(path, TEXT, Kept(engine.state(), logits.copy()), engine.config, MESSAGES)
    return path


@pytest.mark.parametrize("name", ["small", "hybrid"])
def test_a_text_goes_on_from_a_file(engines: dict[str, Engine], name: str, tmp_path: Path) -> None:
    engine = engines[name]
    path = saved(engine, tmp_path / "a.state")
    before = engine.state()
    expected = engine.step(5).copy()
    found = load_state(path, engine.fingerprint, engine.config)
    assert found.tokens.tolist() == TEXT
    assert found.messages == MESSAGES
    assert found.kept.state.read == len(TEXT)
    assert all(map(np.array_equal, found.kept.state.arrays, before.arrays))
    engine.reset()
    assert np.array_equal(engine.prefill(TEXT), found.kept.logits)
    engine.reset()
    engine.set_state(found.kept.state)
    assert np.array_equal(engine.step(5), expected)


def test_other_programs_can_read_it(engines: dict[str, Engine], tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    found = load_file(saved(engines["hybrid"], tmp_path / "a.safetensors"))
    assert found["tokens"].tolist() == TEXT
    assert {array.dtype for name, array in found.items() if "keys" in name} == {np.dtype("f2")}


def test_every_cut_is_refused(engines: dict[str, Engine], tmp_path: Path) -> None:
    engine = engines["small"]
    path = saved(engine, tmp_path / "a.state")
    whole = path.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"a\.state: truncated"):
            load_state(path, engine.fingerprint, engine.config)
    path.write_bytes(whole + b"x")
    with pytest.raises(CheckpointError, match="follow the last tensor"):
        load_state(path, engine.fingerprint, engine.config)
    path.unlink()
    with pytest.raises(
        CheckpointError, match=r"a\.state: missing file; give a file that --save-state"
    ):
        load_state(path, engine.fingerprint, engine.config)


def test_every_changed_byte_of_the_tensors_is_seen(
    engines: dict[str, Engine], tmp_path: Path
) -> None:
    engine = engines["small"]
    path = saved(engine, tmp_path / "a.state")
    whole = path.read_bytes()
    begin = len(whole) - sum(e.end - e.begin for e in SafetensorsFile(path).entries.values())
    for place in range(begin, len(whole), 97):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(
            CheckpointError, match=r"a\.state: .*; save it again with --save-state, or"
        ):
            load_state(path, engine.fingerprint, engine.config)


def test_states_of_other_models_and_other_files_are_refused(
    engines: dict[str, Engine], small_model: Path, tmp_path: Path
) -> None:
    small, hybrid = engines["small"], engines["hybrid"]
    path = saved(small, tmp_path / "a.state")
    with pytest.raises(CheckpointError, match=r"saved with another model \([0-9a-f]{12}, this one"):
        load_state(path, hybrid.fingerprint, hybrid.config)
    with pytest.raises(CheckpointError, match="no state of a text; make one with --save-state"):
        load_state(small_model / "model.safetensors", small.fingerprint, small.config)
    with pytest.raises(CheckpointError, match="not safetensors"):
        load_state(small_model / "tokenizer.json", small.fingerprint, small.config)
    with pytest.raises(CheckpointError, match="not a regular file"):
        load_state(tmp_path, small.fingerprint, small.config)


Change = Callable[[dict[str, Any], dict[str, str]], object]


def put(name: str, index: Any, value: float) -> Change:
    return lambda arrays, notes: arrays[name].__setitem__(index, value)


def note(name: str, value: str) -> Change:
    return lambda arrays, notes: notes.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("tokens", 3, VOCABULARY), "tokens outside the vocabulary of 96"),
        (put("tokens", 3, -1), "tokens outside the vocabulary of 96"),
        (put("logits", 3, np.nan), "logits has a value that is not finite"),
        (put("state.3.keys", (0, 0, 0, 0, 0), np.inf), "keys has a value that is not finite"),
        (note("format", "2"), "has format '2', this version reads 1"),
        (note("read", "49"), r"tokens is I32 \[50\], of the model I32 \[49\]"),
        (note("read", "-1"), "read is '-1'; it should be a number of tokens"),
        (note("read", "0"), "read is '0'; it should be"),
        (note("read", "\u0663"), "read is .*; it should be"),
        (note("read", "9" * 40), "read is .*; it should be"),
        (note("read", "65"), "has 65 tokens: this model reads 64 at most"),
        (note("messages", "[1]"), "messages have no role and content each"),
        (note("messages", '[{"role": "user", "content": 1}]'), "messages have no role"),
        (note("messages", "[" * 99), "messages: not valid JSON"),
        (lambda arrays, notes: arrays.pop("logits"), "tensor 'logits' is missing"),
        (lambda arrays, notes: arrays.update(more=np.ones(2, np.int8)), "'more' is no state"),
        (
            lambda arrays, notes: arrays.update(logits=np.ones(96, np.float16)),
            r"logits is F16 \[96\], of the model F32 \[96\]: compile it with the --kv-dtype",
        ),
        (
            lambda arrays, notes: arrays.update({"state.3.keys": np.ones((1, 2), np.float16)}),
            "state.3.keys is F16",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(
    engines: dict[str, Engine], change: Change, said: str, tmp_path: Path
) -> None:
    """Whoever can write such a file can write its checksum, too."""
    engine = engines["hybrid"]
    path = saved(engine, tmp_path / "a.state")
    arrays, notes = read_state(path, "")
    change(arrays, notes)
    write_state(path, arrays, notes)
    with pytest.raises(C4nError, match=said) as raised:
        load_state(path, engine.fingerprint, engine.config)
    assert str(path) in str(raised.value)


def test_values_that_lead_to_no_numbers_are_noticed(
    engines: dict[str, Engine], tmp_path: Path
) -> None:
    from tvm_c4n.runtime.sampler import Sampler

    engine = engines["small"]
    path = saved(engine, tmp_path / "a.state")
    arrays, notes = read_state(path, "")
    for name, array in arrays.items():
        if "state" in name:
            array[...] = 3e38
    write_state(path, arrays, notes)
    engine.set_state(load_state(path, engine.fingerprint, engine.config).kept.state)
    with pytest.raises(C4nError, match="a logit is not finite"):
        Sampler()(engine.step(1))
