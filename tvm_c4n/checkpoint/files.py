"""Files that are written whole or not at all; every failure is one line that names the file."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tvm_c4n.errors import CheckpointError

# What `atomic_output` leaves of a process that was killed, as a glob pattern.
LEFTOVERS = ".*.tmp*"
# After that long without a write, the temporary file of a process that this machine does not know
# is a leftover. Until then it may be that of a process in another container.
_LEFT_AFTER_SECS = 60
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def os_errors(path: Path, doing: str, needs_bytes: int | None = None) -> Iterator[None]:
    """Turn an operating system error into a CheckpointError that names the file.

    Parameters
    ----------
    path : Path
    doing : str
        What could not be done: ``"write"``.
    needs_bytes : int, optional
        Space that it takes, for the message if there is not enough.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            full = _full(path, error, needs_bytes)
            raise CheckpointError(f"{path}: cannot {doing}: {full}") from error
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path}: cannot {doing}: {reason}") from error


def is_full(error: BaseException | None) -> bool:
    """Say whether an error means that a file cannot grow: disk, quota or limit are reached."""
    return isinstance(error, OSError) and error.errno in _FULL


def _full(path: Path, error: OSError, needs_bytes: int | None) -> str:
    """Say what is full, how much is free and how much is needed."""
    needed = "" if needs_bytes is None else f", {_size(needs_bytes)} are needed"
    if error.errno == errno.EFBIG:
        limit_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return (
            f"the limit of a file's size is {_size(limit_bytes)}{needed}; raise it with `ulimit -f`"
        )
    folder = path.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    what = "the quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
    free_bytes = shutil.disk_usage(folder).free
    return f"{what}: {_size(free_bytes)} are free in {folder}{needed}; make room or write elsewhere"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


@contextmanager
def atomic_output(path: Path, needs_bytes: int | None = None) -> Iterator[Path]:
    """Yield a temporary file's path beside ``path``, renamed to it if the block succeeds.

    A reader sees the old content or the new, never a part. The temporary name is unique, so that
    two writers of one path do not disturb each other (the later rename wins), and keeps the suffix,
    which some writers look at. What killed processes left is removed. It protects against errors
    and interrupts; nothing is flushed for a loss of power.

    Parameters
    ----------
    path : Path
    needs_bytes : int, optional
        Size of the file, where it is known: for the message if the disk is full.

    Raises
    ------
    CheckpointError
        Instead of an operating system error within the block.
    """
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{mark}.tmp{path.suffix}")
    with os_errors(path, "write", needs_bytes):
        _remove_leftovers(path)
        try:
            yield temporary
            temporary.replace(path)
        except CheckpointError as error:
            # Nobody but us knows the temporary name.
            raise CheckpointError(str(error).replace(str(temporary), str(path))) from error
        finally:
            temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    name = re.compile(
        rf"\.{re.escape(path.stem)}\.(\d+)-[0-9a-f]{{8}}\.tmp{re.escape(path.suffix)}"
    )
    with suppress(OSError):  # the writing itself says what is wrong with the folder
        for entry in os.scandir(path.parent):
            found = name.fullmatch(entry.name)
            if found is None or _lives(int(found[1])):
                continue
            if time.time() - entry.stat().st_mtime > _LEFT_AFTER_SECS:
                Path(entry.path).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file's content (text in UTF-8) at once or not at all.

    Raises
    ------
    CheckpointError
        A disk error.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_output(path, len(data)) as temporary:
        temporary.write_bytes(data)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing; CheckpointError if that fails."""
    with os_errors(path, "create"):
        path.mkdir(parents=True, exist_ok=True)


def reserve(folder: Path, needs_bytes: int) -> None:
    """Make sure that a folder's disk has room, for programs that take a full one badly.

    Raises
    ------
    CheckpointError
        It has not, or nothing can be written there.
    """
    with os_errors(folder, "write", needs_bytes), TemporaryFile(dir=folder) as stream:
        os.posix_fallocate(stream.fileno(), 0, needs_bytes)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, which is made if it is missing; wholly, or not at all.

    A process that is killed meanwhile may leave a part of the line.

    Raises
    ------
    CheckpointError
        A disk error.
    """
    data = line.encode("utf-8") + b"\n"
    with os_errors(path, "write", len(data)), path.open("ab", buffering=0) as stream:
        size = stream.tell()
        left = memoryview(data)
        try:
            while left:
                left = left[stream.write(left) :]
        except OSError:
            os.truncate(path, size)
            raise


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content.

    Raises
    ------
    CheckpointError
        Names the target if it cannot be written, as where the disk is full, else the source.
    """
    with os_errors(source, "read"):
        size = source.stat().st_size
    with os_errors(target, "write", size):
        shutil.copyfile(source, target)


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
