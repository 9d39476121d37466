"""What a killed writer of a folder leaves is put right by the next writer or reader."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tvm_c4n.checkpoint import leftovers, open_checkpoint
from tvm_c4n.checkpoint.leftovers import TemporaryFolder, exchange, recover, remove_leftovers
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.errors import CheckpointError

MARK = "123-0123abcd"
SPAWN = multiprocessing.get_context("spawn")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folders_change_names_at_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange names")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "none")


def test_leftovers_go_and_what_is_alive_or_not_ours_stays(tmp_path: Path) -> None:
    alive = TemporaryFolder(tmp_path / "out")
    for name in (f".out.{MARK}.tmp", f".out.{MARK}.old", f".other.{MARK}.tmp", ".out.notes.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "out").mkdir()
    remove_leftovers(tmp_path / "out")
    assert names(tmp_path) == sorted(
        [alive.path.name, f".other.{MARK}.tmp", ".out.notes.tmp", "out"]
    )
    alive.release()
    assert alive.path.name not in names(tmp_path)


def test_a_folder_that_was_put_aside_comes_back(tmp_path: Path) -> None:
    (tmp_path / f".out.{MARK}.old").mkdir()
    (tmp_path / f".out.{MARK}.tmp").mkdir()
    (tmp_path / f".out.{MARK}.old" / "mark").touch()
    recover(tmp_path / "out")
    assert (tmp_path / "out" / "mark").exists()
    remove_leftovers(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_reading_brings_it_back_too(tmp_path: Path) -> None:
    (tmp_path / f".out.{MARK}.old").mkdir()
    with pytest.raises(CheckpointError, match=r"out/config\.json: missing"):
        open_checkpoint(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def write(out: Path, count: int, without_exchange: bool) -> None:
    if without_exchange:
        import tvm_c4n.checkpoint.transaction as module

        module.exchange = lambda *_: False
    for number in range(count):
        with FolderTransaction(out, True, lambda folder: (folder / "one").exists()) as new:
            for name in ("one", "two"):
                (new.folder / name).write_text(f"{os.getpid()} {number}")


@pytest.mark.parametrize("without_exchange", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_leaves_one_whole_folder(
    tmp_path: Path, without_exchange: bool
) -> None:
    out = tmp_path / "out"
    write(out, 1, False)
    for delay in range(6):
        child = SPAWN.Process(target=write, args=(out, 1 << 30, without_exchange))
        child.start()
        before = (out / "one").read_text()
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:  # until it writes
            recover(out)
            # Between two renames of the writer there is no such folder.
            with suppress(FileNotFoundError):
                if (out / "one").read_text() != before:
                    break
        time.sleep(0.0014 * delay)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        recover(out)
        assert (out / "one").read_text() == (out / "two").read_text()
    write(out, 1, False)
    assert names(tmp_path) == ["out"]


def test_two_writers_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    if not _can_exchange(tmp_path):
        pytest.skip("this file system cannot exchange names")
    out = tmp_path / "out"
    write(out, 1, False)
    writers = [SPAWN.Process(target=write, args=(out, 100, False)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert (out / "one").read_text() == (out / "two").read_text()
    write(out, 1, False)
    assert names(tmp_path) == ["out"]


def _can_exchange(folder: Path) -> bool:
    pair = folder / "a", folder / "b"
    for path in pair:
        path.mkdir()
    able = exchange(*pair)
    for path in pair:
        path.rmdir()
    return able


def test_a_name_of_the_most_bytes_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / ("é" * 127)
    write(out, 2, False)
    assert names(tmp_path) == [out.name]
    assert len(os.fsencode(leftovers.TemporaryFolder(out).path.name)) < 60
