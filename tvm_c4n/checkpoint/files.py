"""Small files: read though they may be damaged or hostile, written whole or not at all.

Every failure is one line that names the file.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tvm_c4n.errors import CheckpointError

# The largest config.json of a Mamba has about 1 kB.
MAX_CONFIG_BYTES = 1 << 20
# Room for about 40,000 tensors; Mamba-2.8B has 642.
MAX_INDEX_BYTES = 1 << 22
_SHOWN = 120
# How files begin that stand in the place of others: what a clone without git-lfs holds, and what a
# site answers where it should have sent a file.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
_HEAD_BYTES = 64

# What `atomic_output` leaves of a process that was killed, as a glob pattern.
LEFTOVERS = ".*.tmp*"


def shown(text: object) -> str:
    """Quote what a file says: escaped, so that it stays on one line, and cut short."""
    quoted = ascii(text)
    return quoted if len(quoted) <= _SHOWN else quoted[:_SHOWN] + "...'"


@contextmanager
def os_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an operating system error into a CheckpointError that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path}: cannot {doing}: {reason}") from error


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


def check_head(path: Path) -> None:
    """Raise CheckpointError if a file is what `stand_in` knows."""
    with os_errors(path, "read"), path.open("rb") as stream:
        if found := stand_in(stream.read(_HEAD_BYTES)):
            raise CheckpointError(f"{path}: {found}")


def file_size(path: Path, remedy: str) -> int:
    """Size of a regular file, in bytes.

    A pipe or a device would make a reader wait for ever, so anything else is refused.

    Raises
    ------
    CheckpointError
        Missing, unreadable or not a regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: missing file; {remedy}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); {remedy}") from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: not a regular file; {remedy}")
    return status.st_size


def read_json(path: Path, limit_bytes: int, remedy: str) -> dict[str, Any]:
    """Read a JSON object from a small file.

    Raises
    ------
    CheckpointError
        Missing, larger than the limit, or refused by `parse_json`.
    """
    size = file_size(path, remedy)
    if size > limit_bytes:
        raise CheckpointError(f"{path}: {size} bytes is too large (limit {limit_bytes}); {remedy}")
    with os_errors(path, "read"), path.open("rb") as stream:
        text = stream.read(limit_bytes + 1)
    if found := stand_in(text):
        raise CheckpointError(f"{path}: {found}")
    return parse_json(text, str(path), remedy)


def parse_json(text: bytes, where: str, remedy: str) -> dict[str, Any]:
    """Parse a JSON object strictly: UTF-8, no NaN, no key twice.

    Raises
    ------
    CheckpointError
        Naming ``where`` and the cause.
    """
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise CheckpointError(f"{where}: JSON is nested too deeply; {remedy}") from error
    except ValueError as error:  # includes JSONDecodeError and UnicodeDecodeError
        cause = shown(str(error)).strip("'\"")
        raise CheckpointError(f"{where}: not valid JSON ({cause}); {remedy}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: JSON is not an object; {remedy}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"duplicate key {shown(key)}")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary file's path beside ``path``, renamed to it if the block succeeds.

    A reader sees the old content or the new, never a part. The temporary name is unique, so that
    two writers of one path do not disturb each other (the later rename wins), and keeps the suffix,
    which some writers look at. It protects against errors and interrupts; nothing is flushed for a
    loss of power.

    Raises
    ------
    CheckpointError
        Instead of an operating system error within the block.
    """
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{mark}.tmp{path.suffix}")
    with os_errors(path, "write"):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file's content (text in UTF-8) at once or not at all.

    Raises
    ------
    CheckpointError
        A disk error.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_output(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file: sorted keys, so that equal objects give equal bytes.

    Raises
    ------
    CheckpointError
        Values that JSON does not have (NaN, arrays), or a disk error.
    """
    try:
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name}: cannot be written as JSON: {error}") from error
    write_atomically(path, text + "\n")
