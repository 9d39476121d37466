"""Small files of strangers: read with bounds, or refused in one line that names the file."""

from __future__ import annotations

import json
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from pydantic import BaseModel

from tvm_c4n.checkpoint import reading
from tvm_c4n.checkpoint.reading import (
    MAX_DEPTH,
    file_size,
    open_regular,
    parse_json,
    parse_value,
    read_bytes,
    read_json,
    read_record,
    read_text,
)
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.errors import CheckpointError, TuneError


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "duplicate key"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1e999}', "'1e999' is too large a number"),
        (b"[]", "JSON is not an object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "nested too deeply"),
        (b'{"' + b"k" * 1001 + b'": 1}', "a key of 1001 characters"),
        (json.dumps({str(i): 0 for i in range(100_001)}).encode(), "100001 keys"),
    ],
)
def test_damaged_json_is_one_line_with_its_cause(text: bytes, cause: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_json(text, "here", "get another")
    message = str(caught.value)
    assert message.startswith("here: ")
    assert cause in message
    assert message.endswith("get another")
    assert message.isprintable()


def test_json_within_the_bounds_is_read() -> None:
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_value(nested, "here", "no") == json.loads(nested)
    assert parse_json('{"a": [1, 2.5, null, "b"]}', "here", "no") == {"a": [1, 2.5, None, "b"]}


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


class _Entry(BaseModel):
    count: int


class _Kind(BaseModel):
    entries: dict[str, _Entry]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({}, "entries: Field required"),
        ({"entries": {"a": {}}}, "entries.a.count: Field required"),
        ({"entries": {"a\x1b[2J": {"count": "x"}}}, r"entries.a\x1b[2J.count: Input should be a"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_named(
    content: object, cause: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content))
    with pytest.raises(TuneError) as caught:
        read_record(file, _Kind, 1000, "tune again", TuneError)
    assert f"{file}: {cause}" in str(caught.value)
    assert str(caught.value).endswith("; tune again")


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
