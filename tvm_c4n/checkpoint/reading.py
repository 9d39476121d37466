"""The one reader of small files, which may be damaged or hostile.

It reads regular files only, and a bounded number of bytes of them; `json_reading` is on top of it.
Every failure is one line that names the file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from tvm_c4n.errors import C4nError, CheckpointError

# The largest config.json of a Mamba has about 1 kB.
MAX_CONFIG_BYTES = 1 << 20
# Room for about 40,000 tensors; Mamba-2.8B has 642.
MAX_INDEX_BYTES = 1 << 22
# Texts and token ids: some 250 million tokens of English.
MAX_TEXT_BYTES = 1 << 30
# What is read at a time of a file that says that it has no bytes, as those of /proc do.
_PIECE = 1 << 16
# How files begin that stand in the place of others: what a clone without git-lfs holds, and what a
# site answers where it should have sent a file.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
_HEAD_BYTES = 64


def open_regular(
    path: Path, remedy: str, error: type[C4nError] = CheckpointError
) -> tuple[BinaryIO, int]:
    """Open a regular file for reading; returns it and its size in bytes.

    A pipe or a device would make a reader wait for ever, so anything else is refused.

    Raises
    ------
    error
        Missing, unreadable or not a regular file.
    """
    try:
        # A pipe without a writer would hold up a blocking open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as cause:
        raise error(f"{path}: missing file; {remedy}") from cause
    except (OSError, ValueError) as cause:
        raise error(f"{path}: cannot be read: {_reason(cause)}; {remedy}") from cause
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise error(f"{path}: not a regular file; {remedy}")
    return os.fdopen(descriptor, "rb"), status.st_size


def stand_in(head: bytes) -> str:
    """Say what a file is that stands in the place of another, and what to do about it.

    Every reader of a model's files asks this before it says what is wrong with them.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, 64 at least if it has them.

    Returns
    -------
    str
        Empty for all other files.
    """
    if head.startswith(_LFS_POINTER):
        return (
            "a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or "
            "download the file again"
        )
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "a web page, not the file itself; download the file, not the page that shows it"
    return ""


def check_head(path: Path, remedy: str) -> None:
    """Raise CheckpointError if a file is what `stand_in` knows, or none that can be read."""
    stream, _ = open_regular(path, remedy)
    with stream:
        if found := stand_in(stream.read(_HEAD_BYTES)):
            raise CheckpointError(f"{path}: {found}")


def file_size(path: Path, remedy: str, error: type[C4nError] = CheckpointError) -> int:
    """Size of a regular file, in bytes; raises as `open_regular` does."""
    stream, size = open_regular(path, remedy, error)
    stream.close()
    return size


def read_bytes(
    path: Path, limit_bytes: int, remedy: str, error: type[C4nError] = CheckpointError
) -> bytes:
    """Read a whole small file.

    Parameters
    ----------
    path : Path
    limit_bytes : int
        A larger file is refused, before it is read where its size tells.
    remedy : str
        Ends every message: what the user can do.
    error : type
        What is raised.

    Raises
    ------
    error
        Missing, unreadable, not a regular file, or larger than the limit.
    """
    stream, size = open_regular(path, remedy, error)
    with stream:
        if size <= limit_bytes:
            try:
                data = stream.read(size + 1)
                # The size of a file that grows, or lies in /proc, says nothing.
                while size < len(data) <= limit_bytes and (piece := stream.read(_PIECE)):
                    data += piece
            except OSError as cause:
                raise error(f"{path}: cannot be read: {_reason(cause)}; {remedy}") from cause
            size = len(data)
    if size > limit_bytes:
        raise error(f"{path}: {size} bytes is too large (limit {limit_bytes}); {remedy}")
    return data


def read_text(
    path: Path, limit_bytes: int, remedy: str, error: type[C4nError] = CheckpointError
) -> str:
    """Read a UTF-8 file, with any system's line ends; raises as `read_bytes` does."""
    data = read_bytes(path, limit_bytes, remedy, error)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"{path}: not UTF-8 text (byte {cause.start}); {remedy}") from cause
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
