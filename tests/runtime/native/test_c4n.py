"""libc4n.so by its C API: what the engine says, states, threads, errors; and the example in C."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.c4n import END, INVALID, LIMIT, SHORT, STOPPED, C4nFailure, Model, library
from tests.models import write_byte_tokenizer
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import generate, generate_tokens
from tvm_c4n.runtime.prefix_cache import Kept
from tvm_c4n.runtime.saved_state import load_state, save_state
from tvm_c4n.runtime.text_stream import TextStream

# For a text that ends at no token.
NEVER = {"ends": (ctypes.c_int32 * 1)(-1), "end_count": 1}
EXAMPLE = Path(__file__).parents[3] / "examples" / "embed.c"


def spoken(artifact: Path, folder: Path) -> Path:
    """Copy an artifact, with a tokenizer that the library reads."""
    shutil.copytree(artifact, folder)
    write_byte_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def art(small_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model."""
    return spoken(small_artifact, tmp_path_factory.mktemp("c4n") / "art")


@pytest.fixture(scope="module")
def ring_art(hybrid_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with attention, which reads 64 tokens."""
    return spoken(hybrid_artifact, tmp_path_factory.mktemp("c4n") / "ring")


@pytest.fixture(scope="module")
def lib(host_runner: Path) -> ctypes.CDLL:
    """The library."""
    return library(host_runner.parent)


@pytest.fixture
def open_model(lib: ctypes.CDLL) -> Iterator[Callable[[Path], Model]]:
    """``open_model(artifact)``: closed at the end."""
    opened: list[Model] = []

    def make(path: Path) -> Model:
        opened.append(Model(lib, path))
        return opened[-1]

    yield make
    for model in opened:
        model.close()


def test_logits_are_the_engines(art: Path, open_model: Callable[[Path], Model]) -> None:
    model, engine = open_model(art), Engine.load(art, threads=1)
    model.prefill([0, 5, 9])
    np.testing.assert_array_equal(model.logits(), engine.prefill([0, 5, 9]))
    model.call("step", 7)
    np.testing.assert_array_equal(model.logits(), engine.step(7))
    assert model.length() == 4
    model.call("reset")
    assert model.length() == 0


def test_threads_are_those_that_were_given_or_taken(
    lib: ctypes.CDLL, art: Path, open_model: Callable[[Path], Model]
) -> None:
    assert open_model(art).threads() == 1
    chosen = Model(lib, art, threads=0)
    try:
        assert 1 <= chosen.threads() <= (os.cpu_count() or 1)
    finally:
        chosen.close()


def test_text_goes_on_after_generating(art: Path, open_model: Callable[[Path], Model]) -> None:
    """The last token that was generated belongs to the text, though it was not read at once."""
    model, engine = open_model(art), Engine.load(art, threads=1)
    prompt = engine.tokenizer.prompt("the old")
    model.prefill(prompt)
    text, tokens, reason = model.generate(limit=20, **NEVER)
    assert reason == LIMIT
    assert tokens == list(generate_tokens(engine, prompt, 20))
    stream = TextStream(engine.tokenizer)
    assert text == "".join([*map(stream.put, tokens), stream.end()])
    more = [*prompt, *tokens, *engine.tokenizer.encode(" bridge")]
    model.prefill(model.tokenize(" bridge", as_prompt=False))
    assert model.length() == len(more)
    assert model.generate(limit=10, **NEVER)[1] == list(generate_tokens(engine, more, 10))


def test_where_a_text_ends(art: Path, open_model: Callable[[Path], Model]) -> None:
    model = open_model(art)

    def said(**options: object) -> tuple[str, list[int], int]:
        model.call("reset")
        model.prefill(model.tokenize("the"))
        return model.generate(limit=30, **{**NEVER, **options})

    text, tokens, _ = said()
    end = max(tokens, key=tokens.index)
    ends = (ctypes.c_int32 * 1)(end)
    assert said(ends=ends, end_count=1)[1:] == (tokens[: tokens.index(end)], END)
    string = text[7:9]
    assert said(stop=[string])[::2] == (text[: text.index(string)], END)
    assert said(on_piece=lambda _, token: token == tokens[4])[2] == STOPPED


@pytest.mark.parametrize("name", ["art", "ring_art"])
def test_states_are_those_of_python(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    open_model: Callable[[Path], Model],
) -> None:
    folder = request.getfixturevalue(name)
    model, engine = open_model(folder), Engine.load(folder, threads=1)
    ids = [0, *range(20, 60)]
    model.prefill(ids)
    logits = np.array(engine.prefill(ids))
    model.save(tmp_path / "here")
    save_state(tmp_path / "there", ids, Kept(engine.state(), logits), engine.config)
    saved = load_state(tmp_path / "here", engine.fingerprint, engine.config)
    np.testing.assert_array_equal(saved.kept.logits, logits)
    for mine, theirs in zip(saved.kept.state.arrays, engine.state().arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    expected = np.array(engine.step(3))
    for file in ("here", "there"):
        model.call("reset")
        model.prefill([0, *range(90, 20, -2)])  # what is left of it must not matter
        model.load(tmp_path / file)
        assert model.length() == len(ids)
        np.testing.assert_array_equal(model.logits(), logits)
        model.call("step", 3)
        np.testing.assert_array_equal(model.logits(), expected)


def test_a_state_that_does_not_fit_changes_nothing(
    art: Path, ring_art: Path, tmp_path: Path, open_model: Callable[[Path], Model]
) -> None:
    model, other = open_model(art), open_model(ring_art)
    model.prefill([0, 5])
    other.prefill([0, 5])
    before = model.logits()
    other.save(tmp_path / "other")
    model.save(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    (tmp_path / "flipped").write_bytes(good[:-9] + b"x" + good[-8:])
    (tmp_path / "short").write_bytes(good[:-9])
    (tmp_path / "text").write_bytes(b"{}" * 99)
    for file, line in (
        ("other", "saved with another model: load the one that it was saved with"),
        ("flipped", "damaged: not what was written there: save it again"),
        ("short", "its tensors do not fill it: save it again"),
        ("text", "no safetensors file, or truncated: save it again"),
        ("none", "is missing: save it again"),
    ):
        with pytest.raises(C4nFailure, match=line) as failure:
            model.load(tmp_path / file)
        assert failure.value.status == INVALID
    np.testing.assert_array_equal(model.logits(), before)


def test_errors_are_codes_with_a_line(
    art: Path, ring_art: Path, tmp_path: Path, open_model: Callable[[Path], Model], lib: ctypes.CDLL
) -> None:
    model, ring = open_model(art), open_model(ring_art)
    for call, line in (
        (lambda: Model(lib, tmp_path), "manifest.json is missing"),
        (lambda: Model(lib, tmp_path / "none"), "none: no such folder; give a compiled model"),
        (lambda: model.prefill([96]), "token 96 is outside the vocabulary of 96"),
        (lambda: model.prefill([]), "no tokens to read"),
        (lambda: model.generate(), "no tokens to read"),
        (lambda: ring.prefill([1] * 65), "65 tokens: this model reads 64 at most"),
        (lambda: model.call("save_state", b"/nowhere/at/all"), "there is no text yet whose state"),
        (lambda: model.call("load_state", None), "path is NULL"),
        (lambda: model.call("step", None, 0, handle=False), "the handle is NULL"),
    ):
        with pytest.raises(C4nFailure, match=line) as failure:
            call()
        assert failure.value.status == INVALID
    model.prefill([0])
    with pytest.raises(C4nFailure, match="cannot be written: No such file"):
        model.save(tmp_path / "none" / "state")
    for options, line in (
        ({"temperature": -1.0}, "the temperature is not 0 or more"),
        ({"top_p": float("nan")}, "top-p is not in 0 to 1"),
        ({"stop": ("",)}, "a stop string is empty"),
        ({"limit": 0}, "cannot generate 0 tokens"),
    ):
        with pytest.raises(C4nFailure, match=line):
            model.generate(**options)
    with pytest.raises(C4nFailure, match="too small") as failure:
        model.call("logits", (ctypes.c_float * 4)(), ctypes.c_size_t(4))
    assert failure.value.status == SHORT


def test_a_callback_may_not_call_its_own_model(
    art: Path, open_model: Callable[[Path], Model]
) -> None:
    model, said = open_model(art), []
    model.prefill([0])

    def again(_: str, token: int) -> None:
        with pytest.raises(C4nFailure, match="on_piece may not call") as failure:
            model.call("reset")
        said.append(failure.value.status)

    assert len(model.generate(again, limit=3, **NEVER)[1]) == 3
    assert said == [INVALID] * 3


def test_threads_share_a_handle_or_have_their_own(
    art: Path, open_model: Callable[[Path], Model]
) -> None:
    """Texts of handles that run at once, and of one that all use, are those of one alone."""
    models = [open_model(art) for _ in range(3)]
    prompts = [[0, 7 + i, 30] for i in range(3)]

    def text(model: Model, prompt: list[int]) -> list[int]:
        model.call("reset")
        model.prefill(prompt)
        return model.generate(limit=40, **NEVER)[1]

    alone = [text(models[0], prompt) for prompt in prompts]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(text, models, prompts)) == alone
        models[0].call("reset")
        list(pool.map(lambda token: models[0].call("step", token), range(30)))
    assert models[0].length() == 30


def test_the_example_continues_a_text(art: Path, host_runner: Path, tmp_path: Path) -> None:
    runner = host_runner.parent
    command = [*os.environ.get("CC", "cc").split(), "-std=c99", "-pedantic", "-Wall", "-Wextra"]
    command += ["-Werror", f"-I{runner / 'include'}", str(EXAMPLE), f"-L{runner}", "-lc4n"]
    command += [f"-Wl,-rpath,{runner}", "-Wl,--allow-shlib-undefined"]
    command += ["-o", str(tmp_path / "embed")]
    subprocess.run(command, check=True)

    def embed(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [str(tmp_path / "embed"), *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    engine = Engine.load(art, threads=1)
    expected = "".join(generate(engine, "the old", 32, repeat_penalty=1.1))
    first = embed(art, "the old", tmp_path / "state")
    assert (first.stdout, first.returncode) == (f"the old{expected}\n", 0)
    second = embed(art, " bridge", tmp_path / "state")
    assert second.stdout.startswith(" bridge")
    assert len(second.stdout) > 20
    failed = embed(tmp_path, "the old")
    assert (failed.returncode, failed.stderr.count("\n")) == (INVALID, 1)
    assert failed.stderr.startswith("error: ")
