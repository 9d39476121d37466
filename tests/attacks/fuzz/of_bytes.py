"""Mutations of any file: its bytes, and what stands in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

Mutation = Callable[[Path, Random], None]

_TEXTS = {
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n",
    "html": b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n",
    "null": b"null",
    "deep": b"[" * 200_000,
    "deep_objects": b'{"a":' * 100_000,
    "spaces": b" " * (1 << 21),
}


def flipped_bits(path: Path, random: Random) -> None:
    """Turn a few bits over."""
    data = bytearray(path.read_bytes())
    for _ in range(random.choice([1, 1, 3, 50])):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    _put(path, data)


def other_bytes(path: Path, random: Random) -> None:
    """Put other bytes in the place of a few; texts get those that mean something in texts."""
    data = bytearray(path.read_bytes())
    at = random.randrange(len(data) + 1)
    new = random.choice([b'"', b"\\u", b"\0", b"\xff", b"}", b"-", b"\n", b"9" * 5000, b"\xed\xa0"])
    data[at : at + random.choice([0, 1, 8])] = new
    _put(path, data)


def cut_off(path: Path, random: Random) -> None:
    """Lose the end of the file."""
    data = path.read_bytes()
    _put(path, data[: random.choice([0, 1, 7, len(data) - 1, random.randrange(len(data) + 1)])])


def grown(path: Path, random: Random) -> None:
    """Append a tail: rubbish, zeros, or the file's own beginning."""
    data = path.read_bytes()
    _put(path, data + random.choice([b"PK\x03\x04", bytes(4096), data, data[:100], b"\n{}"]))


def doubled_piece(path: Path, random: Random) -> None:
    """Repeat a piece of the file."""
    data = path.read_bytes()
    at, length = random.randrange(len(data) + 1), random.choice([1, 16, 200])
    _put(path, data[: at + length] + data[at:])


def lost_piece(path: Path, random: Random) -> None:
    """Leave out a piece of the file."""
    data = path.read_bytes()
    at, length = random.randrange(len(data) + 1), random.choice([1, 16, 200])
    _put(path, data[:at] + data[at + length :])


def another_file(path: Path, random: Random) -> None:
    """Put what another program would send or write in the file's place."""
    _put(path, _TEXTS[random.choice(list(_TEXTS))])


def another_encoding(path: Path, random: Random) -> None:
    """Write a text in an encoding that is not UTF-8."""
    text = path.read_bytes().decode("latin-1")
    _put(path, random.choice([text.encode("utf-16"), b"\xef\xbb\xbf" + path.read_bytes()]))


def gigabytes(path: Path, random: Random) -> None:
    """Let the file have 10 GB, none of which takes room on the disk."""
    if random.random() < 0.5:
        _put(path, b"")
    os.truncate(path, 10 << 30)


def missing(path: Path, random: Random) -> None:
    """Take the file away."""
    path.unlink()


def pipe(path: Path, random: Random) -> None:
    """Put a pipe without a writer in its place: a reader waits for ever."""
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, random: Random) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()
    if random.random() < 0.5:
        (path / "file").touch()


def link(path: Path, random: Random) -> None:
    """Put a link in its place: to nothing, itself, its folder, a device, or a file elsewhere."""
    path.unlink()
    places = ["gone", path.name, ".", "/dev/zero", "/dev/null", "/proc/self/mem", "/etc/hostname"]
    path.symlink_to(random.choice(places))


def _put(path: Path, data: bytes | bytearray) -> None:
    path.write_bytes(data)


CONTENT: tuple[Mutation, ...] = (
    flipped_bits,
    other_bytes,
    cut_off,
    grown,
    doubled_piece,
    lost_piece,
    another_file,
    another_encoding,
)
PLACES: tuple[Mutation, ...] = (gigabytes, missing, pipe, folder, link)
