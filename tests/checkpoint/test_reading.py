"""Small files of strangers: read with bounds, or refused in one line that names the file."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from tvm_c4n.checkpoint import reading
from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.reading import file_size, open_regular, read_bytes, read_text
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.errors import CheckpointError


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("{" + " " * 100 + "}")
    with pytest.raises(CheckpointError, match=r"a\.json: 102 bytes is too large"):
        read_json(file, 101, "shorten it")
    assert read_json(file, 102, "shorten it") == {}


def test_a_sparse_file_of_10_gb_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as stream:
        stream.truncate(10 << 30)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="10737418240 bytes is too large"):
        read_bytes(file, 1 << 30, "shorten it")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_size_of_zero_is_no_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of /proc have none and hold text; the limit counts for what is read of them."""
    about_us = Path("/proc/self/status")
    assert about_us.stat().st_size == 0
    assert read_bytes(about_us, 1 << 20, "no").startswith(b"Name:")
    with pytest.raises(CheckpointError, match="is too large"):
        read_bytes(about_us, 10, "no")
    endless = tmp_path / "endless"
    endless.write_bytes(b"x" * 1000)
    monkeypatch.setattr(reading, "open_regular", lambda path, *_: (path.open("rb"), 0))
    with pytest.raises(CheckpointError, match="too large"):
        read_bytes(endless, 999, "no")
    assert read_bytes(endless, 1000, "no") == b"x" * 1000


@pytest.mark.parametrize(
    "kind", ["pipe", "device", "folder", "missing", "dangling", "null", "long"]
)
def test_only_a_regular_file_is_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("gone")
    path = {"device": Path("/dev/zero"), "null": Path("a\0b"), "long": tmp_path / ("x" * 300)}.get(
        kind, path
    )
    failures: list[str] = []

    def attempt() -> None:
        for read in (file_size, open_regular, lambda p, r: read_bytes(p, 100, r)):
            with pytest.raises(CheckpointError) as caught:
                read(path, "get it")
            failures.append(str(caught.value))

    # In a thread: what waits for a pipe waits for ever.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert len(failures) == 3
    for line in failures:
        assert line.isprintable()
        assert line.endswith("get it")


def test_text_has_the_line_ends_of_any_system(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "a", 100, "no") == "a\nb\nc\n"
    (tmp_path / "a").write_bytes(b"abc\xff")
    with pytest.raises(CheckpointError, match=r"not UTF-8 text \(byte 3\)"):
        read_text(tmp_path / "a", 100, "no")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "Git LFS pointer.*lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n <html lang=en>", "web page"),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_called_that(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"config\.json: a {said}"):
        read_json(path, 1000, "again")
    with pytest.raises(CheckpointError, match=rf"config\.json: a {said}"):
        SafetensorsFile(path)
