"""Compiling the embedded model: the folder, its manifest, and what damage does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import write_model
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import ArtifactError, C4nError, CheckpointError, TargetError
from tvm_c4n.inspect.summary import summarize
from tvm_c4n.model.reference import Reference
from tvm_c4n.runtime.artifact import MANIFEST, WEIGHTS, is_artifact, open_artifact
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.manifest import Text


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, dense float32, for this machine."""
    out = tmp_path_factory.mktemp("artifact") / "dense"
    steps: list[tuple[str, int, int]] = []
    compile_model("mamba-19m", out, dtype="float32", progress=lambda *a: steps.append(a))
    assert [done for _, done, _ in steps] == [0, 1, 2, 3, 4]
    return out


@pytest.fixture
def copied(compiled: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    out = tmp_path / "art"
    out.mkdir()
    for file in compiled.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    return out


def test_the_folder_says_what_it_is(compiled: Path) -> None:
    manifest = open_artifact(compiled).manifest
    assert is_artifact(compiled)
    assert manifest.target == "host"
    assert (compiled / manifest.library).is_file()
    assert (compiled / "tokenizer.json").is_file()
    last = manifest.tensors[-1]
    assert (compiled / WEIGHTS).stat().st_size == last.offset + last.size_bytes
    in_proj = manifest.projections["backbone.layers.3.mixer.in_proj.weight"]
    assert (in_proj.rows, in_proj.cols, in_proj.removed, in_proj.dtype) == (1536, 384, 0, "float32")
    kernels = {name: rule for name, rule in manifest.schedules.items() if "embedding" not in name}
    assert "definition" not in kernels.values()
    # A decode step is one kernel for all layers; the rules behind its parts are named all the same.
    parts = {
        name.split("_")[-1]: rule for name, rule in kernels.items() if name.startswith("layers")
    }
    assert parts["linear"] == "c4n_gemv"
    assert parts["scan"] == "selective_scan"
    assert not list(compiled.parent.glob(".*tmp"))


def test_the_engine_equals_the_reference(compiled: Path, embedded: Any) -> None:
    config, dense = embedded
    reference, engine = Reference(config, dense), Engine.load(compiled, threads=1)
    text = [0, 17, 4000, 8191, 5, 5, 300]
    expected = reference.prefill(text)
    np.testing.assert_allclose(engine.score(text), expected, rtol=1e-4, atol=1e-4)
    for token in (1, 2):
        np.testing.assert_allclose(engine.step(token), reference.step(token), rtol=1e-4, atol=1e-4)
    engine.reset()
    np.testing.assert_allclose(engine.prefill(text), expected[-1], rtol=1e-4, atol=1e-4)


def test_long_prompts_come_in_chunks(compiled: Path) -> None:
    engine = Engine.load(compiled)
    ids = np.random.default_rng(0).integers(0, 8192, 600)
    whole = engine.score(ids)
    engine.reset()
    last = engine.prefill(ids)
    assert whole.shape == (600, 8192)
    np.testing.assert_allclose(last, whole[-1], rtol=1e-4, atol=1e-4)
    engine.reset()
    engine.prefill(ids[:-1])
    np.testing.assert_allclose(engine.step(int(ids[-1])), whole[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [[], [8192], [-1], [1.0], [True]])
def test_bad_tokens_are_refused(compiled: Path, bad: list[int]) -> None:
    with pytest.raises(C4nError, match=r"no tokens|outside the vocabulary|is no integer"):
        Engine.load(compiled).prefill(bad)


def test_bad_thread_counts_are_refused(compiled: Path) -> None:
    with pytest.raises(C4nError, match="threads is 0"):
        Engine.load(compiled, threads=0)


def edit(folder: Path, **changes: Any) -> None:
    """Change fields of the manifest."""
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triple": "aarch64-linux-gnu"}, "was compiled for aarch64-linux-gnu"),
        ({"features": ["avx1024"]}, "lacks .avx1024."),
        ({"format": 2}, "has format 2"),
        ({"unknown": 1}, "unknown: Extra inputs"),
        ({"library_sha256": "../../etc/passwd"}, "library_sha256: String should match"),
        ({"library_sha256": "0" * 64}, "model-000000000000.so: missing file"),
        ({"tensors": [{"dtype": "float32", "shape": [1], "offset": 3}]}, "multiple of 64"),
    ],
)
def test_a_wrong_manifest_is_refused(copied: Path, changes: Any, message: str) -> None:
    edit(copied, **changes)
    with pytest.raises(ArtifactError, match=message):
        Engine.load(copied)


def test_changed_weights_are_noticed(copied: Path) -> None:
    block = bytearray((copied / WEIGHTS).read_bytes())
    block[1000] ^= 1
    (copied / WEIGHTS).write_bytes(block)
    open_artifact(copied).verify(code_only=True)  # what `Engine.load` does
    with pytest.raises(ArtifactError, match=r"weights\.bin is not the file"):
        summarize(copied)


def test_short_weights_are_noticed(copied: Path) -> None:
    artifact = open_artifact(copied)
    (copied / WEIGHTS).write_bytes(b"\0" * 640)
    with pytest.raises(ArtifactError, match="has 640 bytes, its tensors have"):
        artifact.weights()


def test_what_is_no_artifact_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is no compiled model"):
        Engine.load(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(ArtifactError, match="not valid JSON"):
        Engine.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model": "no-such-model"}, CheckpointError),
        ({"model": "mamba-19m", "target": "toaster"}, TargetError),
        ({"model": "mamba-19m", "dtype": "int3"}, C4nError),
    ],
)
def test_the_users_errors_leave_nothing(tmp_path: Path, arguments: Any, error: type) -> None:
    with pytest.raises(error) as caught:
        compile_model(out=tmp_path / "art", **arguments)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_linker_is_said_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    steps: list[object] = []
    with pytest.raises(TargetError, match="no linker"):
        compile_model("mamba-19m", tmp_path / "art", progress=lambda *args: steps.append(args))
    assert steps == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_step: str, done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_model("mamba-19m", tmp_path / "art", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_tokenizer_is_refused_before_work_starts(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: missing file"):
        compile_model(tmp_path / "model", tmp_path / "art")
    assert not (tmp_path / "art").exists()


def test_an_artifact_knows_what_starts_and_ends_a_text(copied: Path) -> None:
    artifact = open_artifact(copied)
    assert artifact.manifest.text == Text(start=0, ends=(0,))
    content = json.loads((copied / MANIFEST).read_text())
    content["text"] = {"start": 3, "ends": [7, 5]}
    (copied / MANIFEST).write_text(json.dumps(content))
    tokenizer = Engine.load(copied).tokenizer
    assert (tokenizer.start, tokenizer.ends) == (3, (7, 5))


def test_an_artifact_of_before_this_was_kept_goes_by_the_models_config(copied: Path) -> None:
    content = json.loads((copied / MANIFEST).read_text())
    del content["text"]
    content["config"] |= {"bos_token_id": 4, "eos_token_id": [6, 2]}
    (copied / MANIFEST).write_text(json.dumps(content))
    tokenizer = open_artifact(copied).tokenizer()
    assert (tokenizer.start, tokenizer.ends) == (4, (6, 2))
