"""The cache's entries are listed and removed, whatever else happens to them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tvm_c4n.compile import cache, cached
from tvm_c4n.errors import C4nError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of two models, the second one in two versions."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = cache.artifacts_folder()
    for number, (key, name) in enumerate([("a", "one"), ("b", "two"), ("c", "two")]):
        artifact = folder / key / name
        artifact.mkdir(parents=True)
        (artifact / "weights.bin").write_bytes(bytes(100 + number))
        os.utime(folder / key, (1000 + number, 1000 + number))
    return folder


def test_entries_are_there_with_their_sizes_the_last_used_first(root: Path) -> None:
    found = [(entry.name, entry.size_bytes, entry.used) for entry in cached.entries()]
    assert found == [("two", 102, 1002.0), ("two", 101, 1001.0), ("one", 100, 1000.0)]


def test_no_cache_has_no_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert cached.entries() == []
    cache.artifacts_folder().parent.mkdir(parents=True)
    cache.artifacts_folder().write_text("a file")
    with pytest.raises(C4nError, match="artifacts: cannot be read: Not a directory"):
        cached.entries()


def test_what_was_not_finished_is_an_entry_too(root: Path) -> None:
    (root / "d" / ".three.1-00000000.tmp").mkdir(parents=True)
    (root / "d" / ".three.1-00000000.tmp" / "weights.bin").write_bytes(bytes(7))
    (root / "file").write_text("no entry")
    (root / "link").symlink_to(root / "a")
    entry = cached.entries()[0]
    assert (entry.name, entry.size_bytes) == (cached.UNFINISHED, 7)
    assert len(cached.entries()) == 4


def test_entries_are_removed_by_name_or_all(root: Path) -> None:
    assert [entry.folder.name for entry in cached.named(["two"])] == ["c", "b"]
    with pytest.raises(C4nError, match="three: no such model in the cache"):
        cached.named(["two", "three"])
    assert all(cached.remove(entry) for entry in cached.named(["two"]))
    assert [entry.name for entry in cached.entries()] == ["one"]
    assert all(cached.remove(entry) for entry in cached.named([]))
    assert list(root.iterdir()) == []


def test_a_link_in_an_entry_is_removed_and_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (root / "a" / "one" / "link").symlink_to(tmp_path / "mine")
    assert all(cached.remove(entry) for entry in cached.named([]))
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_what_another_process_compiles_is_kept(root: Path) -> None:
    descriptor = os.open(root / "a", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # another open file, as that of another process
    entry = cached.named(["one"])[0]
    assert not cached.remove(entry)
    assert (root / "a" / "one" / "weights.bin").exists()
    os.close(descriptor)
    assert cached.remove(entry)


def test_one_that_is_gone_meanwhile_is_said(root: Path) -> None:
    entry = cached.named(["one"])[0]
    assert cached.remove(entry)
    with pytest.raises(C4nError, match="a: cannot be removed: No such file or directory"):
        cached.remove(entry)
