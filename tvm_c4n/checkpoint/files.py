"""Files that are written whole or not at all; every failure is one line that names the file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tvm_c4n.errors import CheckpointError

# What `atomic_output` leaves of a process that was killed, as a glob pattern.
LEFTOVERS = ".*.tmp*"


@contextmanager
def os_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an operating system error into a CheckpointError that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path}: cannot {doing}: {reason}") from error


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
