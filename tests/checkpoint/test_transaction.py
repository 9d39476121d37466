"""A folder appears whole or not at all, and never in place of one that is not ours."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.checkpoint import C4nWriter
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.errors import CheckpointError


def ours(folder: Path) -> bool:
    return (folder / "mark").is_file()


def write(out: Path, text: str, overwrite: bool = False) -> None:
    with FolderTransaction(out, overwrite, ours) as transaction:
        (transaction.folder / "mark").write_text(text)
        assert not ours(out) or (out / "mark").read_text() != text


def test_the_folder_and_its_parents_appear_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "parents" / "out"
    write(out, "one")
    assert (out / "mark").read_text() == "one"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_an_error_removes_everything_that_was_made(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    with (
        pytest.raises(failure),
        FolderTransaction(tmp_path / "new" / "parents" / "out", False, ours) as transaction,
    ):
        (transaction.folder / "half").write_text("")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_parents_that_others_use_by_then_stay(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        FolderTransaction(tmp_path / "new" / "out", False, ours),
    ):
        (tmp_path / "new" / "theirs").write_text("")
        raise RuntimeError
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs"]


def test_only_a_folder_of_ours_is_replaced_and_only_if_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "one")
    with pytest.raises(CheckpointError, match="not empty"):
        write(out, "two")
    write(out, "two", overwrite=True)
    assert (out / "mark").read_text() == "two"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds something else than what is written"):
        write(tmp_path / "home", "three", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        write(tmp_path / "file", "three", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home", "out"]
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(CheckpointError, match="not empty"),
        FolderTransaction(out, False, ours) as transaction,
    ):
        (transaction.folder / "mark").write_text("mine")
        out.mkdir()
        (out / "mark").write_text("theirs")
    assert (out / "mark").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_rename_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write(out, "one")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr("tvm_c4n.checkpoint.transaction.exchange", lambda *_: False)
    with pytest.raises(CheckpointError, match="Input/output"):
        write(out, "two", overwrite=True)
    assert (out / "mark").read_text() == "one"
    assert list(tmp_path.iterdir()) == [out]


def test_a_link_as_out_survives(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "mark").read_text() == "one"


def test_out_that_no_folder_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="/: cannot be replaced; name a folder"):
        write(Path("/"), "one")
    with pytest.raises(CheckpointError, match="cannot write: File name too long"):
        write(tmp_path / ("n" * 300), "one")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CheckpointError, match="out: cannot write: No such file"):
        write(Path("out"), "one")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_names_the_folder_what_is_full_and_what_is_needed(
    tmp_path: Path, overwrite: bool
) -> None:
    """A limit of the file size stands for a full disk: both refuse bytes in mid-file."""
    out = tmp_path / "out"
    if overwrite:
        _write_c4n(out, 1)
    before = sorted(tmp_path.rglob("*"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    try:
        with pytest.raises(CheckpointError) as caught:
            _write_c4n(out, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    said = "cannot write: the limit of a file's size is 1.05 MB, 8.39 MB are needed; raise it"
    assert f"{out}: {said}" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def _write_c4n(out: Path, elements: int) -> None:
    with C4nWriter(out, overwrite=True) as writer:
        writer.add_json("config.json", {"model_type": "mamba"})
        writer.add_dense("a", np.zeros(elements, np.float32))


@pytest.mark.parametrize(("overwrite", "proposed"), [(False, True), (None, False)])
def test_overwriting_is_proposed_where_it_can_be_asked_for(
    tmp_path: Path, overwrite: bool | None, proposed: bool
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").touch()
    with (
        pytest.raises(CheckpointError, match="not empty; pick another folder") as refused,
        FolderTransaction(tmp_path / "out", overwrite, lambda _: True),
    ):
        pass
    assert ("--overwrite" in str(refused.value)) == proposed
