"""A model is compiled for this machine when first used, and the artifact kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tvm_c4n
from tvm_c4n.compile import cache
from tvm_c4n.compile.host import Core, measured_core
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.artifact import MANIFEST, WEIGHTS, open_artifact


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch, small_artifact: Path) -> list[Path]:
    """Replaces the compiler by a copy; the folders that it was called with."""
    found: list[Path] = []

    def copy(model: Path, out: Path, **_options: object) -> None:
        found.append(model)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(small_artifact, out)

    monkeypatch.setattr("tvm_c4n.compile.artifact.compile_model", copy)
    return found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tvm-c4n"


@pytest.fixture
def model(small_model: Path, tmp_path: Path) -> Path:
    """A model folder that a test may change."""
    return Path(shutil.copytree(small_model, tmp_path / "model"))


def test_a_tokenizer_of_ten_gigabytes_is_not_hashed(model: Path, root: Path) -> None:
    os.truncate(model / "tokenizer.json", 10 << 30)
    said = r"tokenizer\.json: 10737418240 bytes is too large \(limit 268435456\)"
    with pytest.raises(C4nError, match=said):
        cache.cached_artifact(model)


def test_the_second_use_compiles_nothing(model: Path, root: Path, compilations: list[Path]) -> None:
    told: list[str] = []
    first = cache.cached_artifact(model, notify=told.append)
    assert first.is_relative_to(root / "artifacts")
    assert first.name == "model"
    assert told == [f"compiling model for this CPU, once; kept in {root}"]
    assert cache.cached_artifact(str(model), notify=told.append) == first
    assert len(compilations) == len(told) == 1


def test_an_artifact_is_returned_as_it_is(small_artifact: Path, root: Path) -> None:
    assert cache.cached_artifact(small_artifact) == small_artifact
    assert not root.exists()


def test_names_of_embedded_models_are_known(root: Path, compilations: list[Path]) -> None:
    assert cache.cached_artifact("mamba-19m-s30-int4").name == "mamba-19m-s30-int4"
    assert [folder.name for folder in compilations] == ["mamba-19m-s30-int4"]


def test_other_names_are_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(C4nError, match=r"mamba-20m: no such folder; .* mamba-19m, .*s30-int4"):
        cache.cached_artifact("mamba-20m")
    assert not root.exists()


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_changed_model_gets_another_artifact(model: Path, file: str) -> None:
    """Also where size and time of the file are what they were."""
    before, changed = cache._depends(model), model / file
    content, times = bytearray(changed.read_bytes()), changed.stat()
    content[-1] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache._depends(model) != before


def test_a_model_for_batches_is_another_artifact(
    model: Path, root: Path, compilations: list[Path]
) -> None:
    alone = cache.cached_artifact(model)
    together = cache.cached_artifact(model, batch=True)
    assert together != alone
    assert cache.cached_artifact(model, batch=True) == together
    assert len(compilations) == 2


def test_a_model_for_batches_serves_one_text_too(
    model: Path, root: Path, compilations: list[Path]
) -> None:
    together = cache.cached_artifact(model, batch=True)
    assert cache.cached_artifact(model) == together
    assert len(compilations) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_sources_digest", "other sources"),
        ("cpu_name", "another CPU"),
        ("cpu_model", "family 261 model 0 stepping 0"),
        ("host_cpu", {"mcpu": "x86-64-v2"}),
        ("measured_core", Core.ZEN5 if measured_core() is Core.ZEN4 else Core.ZEN4),
        ("l3_bytes", 12345),
    ],
)
def test_another_machine_or_version_gets_its_own_artifact(
    model: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    before = cache._depends(model)
    monkeypatch.setattr(cache, name, lambda: value)
    assert cache._depends(model) != before


def test_the_digest_of_sources_sees_every_byte(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = cache._source_folders()
    assert [folder.name for folder in folders] == ["tvm_c4n", "relay_passes", "schedules"]
    copied = Path(shutil.copytree(folders[2], tmp_path / "schedules"))
    monkeypatch.setattr(cache, "_source_folders", lambda: [*folders[:2], copied])
    before = cache._sources_digest()
    for file in (copied / "base.py", next((copied / "records").rglob("*.json"))):
        text = file.read_text()
        file.write_text(text + " ")
        assert cache._sources_digest() != before
        file.write_text(text)
        assert cache._sources_digest() == before


@pytest.mark.parametrize("damage", ["library", "weights", "manifest", "missing"])
def test_a_damaged_artifact_is_compiled_again(
    model: Path, root: Path, compilations: list[Path], damage: str
) -> None:
    artifact = cache.cached_artifact(model)
    if damage == "library":
        (artifact / open_artifact(artifact).manifest.library).write_bytes(b"\x7fELF")
    elif damage == "weights":
        os.truncate(artifact / WEIGHTS, 64)
    elif damage == "manifest":
        (artifact / MANIFEST).write_text(json.dumps({"format": 1}))
    else:
        shutil.rmtree(artifact)
    assert cache.cached_artifact(model) == artifact
    assert len(compilations) == 2
    open_artifact(artifact).verify()


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache.cache_folder() == Path.home() / ".cache" / "tvm-c4n"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "tvm-c4n"


def test_a_cache_that_cannot_be_written_is_one_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(C4nError, match="cannot create: Not a directory; set XDG_CACHE_HOME"):
        cache.cached_artifact(model)


@pytest.mark.slow
def test_two_processes_compile_once(
    model: Path, small_artifact: Path, root: Path, tmp_path: Path
) -> None:
    """Both get the artifact; the second waits for the first instead of compiling, too."""
    program = """
import shutil, sys, time
from pathlib import Path
from tvm_c4n.compile import artifact, cache
def slow(model, out, **options):
    shutil.copytree(sys.argv[5], out, dirs_exist_ok=True)
    Path(sys.argv[2]).open("a").write("compiled\\n")
    time.sleep(1)  # the other one has long begun to wait
artifact.compile_model = slow
Path(sys.argv[3]).touch()
while not Path(sys.argv[4]).exists():
    time.sleep(0.01)
print(cache.cached_artifact(sys.argv[1]))
"""
    log, ready = tmp_path / "log", [tmp_path / "a", tmp_path / "b"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, model, log, mine, other, small_artifact],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(tvm_c4n.__file__).parents[1])},
        )
        for mine, other in (ready, ready[::-1])
    ]
    end = time.monotonic() + 200
    found = {
        process.communicate(timeout=end - time.monotonic())[0].strip() for process in processes
    }
    assert len(found) == 1
    open_artifact(Path(found.pop())).verify()
    assert log.read_text() == "compiled\n"
