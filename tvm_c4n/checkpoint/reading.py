"""The one reader of small files, which may be damaged or hostile.

It reads regular files only, a bounded number of bytes of them, and JSON of bounded depth, number
and length of keys. Every failure is one line that names the file.
"""

from __future__ import annotations

import json
import os
import stat
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from tvm_c4n.errors import C4nError, CheckpointError, shown

# The largest config.json of a Mamba has about 1 kB.
MAX_CONFIG_BYTES = 1 << 20
# Room for about 40,000 tensors; Mamba-2.8B has 642.
MAX_INDEX_BYTES = 1 << 22
# Texts and token ids: some 250 million tokens of English.
MAX_TEXT_BYTES = 1 << 30
# The files read here are 6 levels deep at most; Python's own reader gives up at about 1000.
MAX_DEPTH = 32
MAX_KEYS = 100_000
MAX_KEY_LENGTH = 1000
# What is read at a time of a file that says that it has no bytes, as those of /proc do.
_PIECE = 1 << 16
# How files begin that stand in the place of others: what a clone without git-lfs holds, and what a
# site answers where it should have sent a file.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
_HEAD_BYTES = 64

_Kind = TypeVar("_Kind", bound=BaseModel)


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


def read_json(
    path: Path, limit_bytes: int, remedy: str, error: type[C4nError] = CheckpointError
) -> dict[str, Any]:
    """Read a JSON object from a small file; raises as `read_bytes` and `parse_json` do."""
    data = read_bytes(path, limit_bytes, remedy, error)
    if found := stand_in(data):
        raise error(f"{path}: {found}")
    return parse_json(data, str(path), remedy, error)


def read_record(
    path: Path,
    kind: type[_Kind],
    limit_bytes: int,
    remedy: str,
    error: type[C4nError] = CheckpointError,
) -> _Kind:
    """Read a JSON object whose keys and values a class describes.

    Raises
    ------
    error
        As `read_json`; a key that is missing, unknown, or has a bad value is named.
    """
    return validated(kind, read_json(path, limit_bytes, remedy, error), str(path), remedy, error)


def validated(
    kind: type[_Kind],
    value: Any,
    where: str,
    remedy: str,
    error: type[C4nError] = CheckpointError,
) -> _Kind:
    """Check a JSON value against the class that describes it; raises as `read_record` does."""
    try:
        return kind.model_validate(value)
    except ValidationError as cause:
        first = cause.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        place = shown(place)[1:-1] if place else "content"
        raise error(f"{where}: {place}: {first['msg']}; {remedy}") from cause


def parse_json(
    text: bytes | str, where: str, remedy: str, error: type[C4nError] = CheckpointError
) -> dict[str, Any]:
    """Parse a JSON object; raises as `parse_value` does, and if it is another value."""
    value = parse_value(text, where, remedy, error)
    if not isinstance(value, dict):
        raise error(f"{where}: JSON is not an object; {remedy}")
    return value


def parse_value(
    text: bytes | str, where: str, remedy: str, error: type[C4nError] = CheckpointError
) -> Any:
    """Parse JSON strictly: UTF-8, finite numbers, no key twice, of bounded depth.

    Raises
    ------
    error
        Naming ``where`` and the cause.
    """
    try:
        value = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check_depth(value)
    except RecursionError as cause:
        raise error(f"{where}: JSON is nested too deeply; {remedy}") from cause
    except ValueError as cause:  # includes JSONDecodeError and UnicodeDecodeError
        said = shown(str(cause))[1:-1]
        raise error(f"{where}: not valid JSON ({said}); {remedy}") from cause
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise ValueError(f"{len(pairs)} keys, more than {MAX_KEYS}")
    result: dict[str, Any] = {}
    for key, value in pairs:
        if len(key) > MAX_KEY_LENGTH:
            raise ValueError(f"a key of {len(key)} characters, more than {MAX_KEY_LENGTH}")
        if key in result:
            raise ValueError(f"duplicate key {shown(key)}")
        result[key] = value
    return result


def _check_depth(value: Any) -> None:
    """Raise RecursionError if containers are nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(v for v in one.values() if isinstance(v, dict | list))
            elif isinstance(one, list):
                inner.extend(v for v in one if isinstance(v, dict | list))
        if not inner:
            return
        level = inner
    raise RecursionError


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError(f"{shown(digits)} is too large a number")
    return value


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
