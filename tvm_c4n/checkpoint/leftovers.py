"""Temporary folders beside the folder that they will become, and what killed processes left there.

A writer holds a lock on its temporary folder, which ends with the process however it ends. A folder
whose lock is free is a leftover. (A process id would say nothing about a process on another machine
or in another container that writes to the same disk.)
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

# The longest name of Linux's file systems is 255 bytes; a temporary one adds some 30 to it.
_MAX_NAME_BYTES = 200
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
# An old kernel, a file system without it, a sandbox that forbids it.
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EPERM)


class TemporaryFolder:
    """A new, locked folder beside ``out``.

    Attributes
    ----------
    path : Path
    aside : Path
        Where the folder at ``out`` may be put for a moment; see `recover`.

    Raises
    ------
    OSError
        It cannot be made.
    """

    def __init__(self, out: Path) -> None:
        while True:
            mark = f"{os.getpid()}-{secrets.token_hex(4)}"
            self.path = out.with_name(f".{_short(out.name)}.{mark}.tmp")
            self.aside = self.path.with_suffix(".old")
            self.path.mkdir()
            try:
                self._lock = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # another writer took it for a leftover before it was locked
            with suppress(OSError):  # a network drive without locks
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.path.exists():
                return
            os.close(self._lock)  # the same

    def release(self) -> None:
        """Give up the lock, and remove what lies under the temporary names."""
        with suppress(OSError):  # it was given up before
            os.close(self._lock)
        for path in (self.path, self.aside):
            shutil.rmtree(path, ignore_errors=True)


def recover(out: Path) -> None:
    """Bring back a folder that lacks its name; never raises.

    A writer that was killed may have put it aside, without the new one in its place yet.
    """
    with suppress(OSError):
        for path in _left(out):
            if path.suffix == ".old" and not out.exists():
                with _Guard(path) as free:
                    if free:
                        path.rename(out)


def remove_leftovers(out: Path) -> None:
    """Remove what writers of ``out`` left that were killed; never raises."""
    recover(out)
    with suppress(OSError):
        for path in _left(out):
            with _Guard(path) as free:
                if free:
                    shutil.rmtree(path, ignore_errors=True)


def _left(out: Path) -> list[Path]:
    name = re.compile(rf"\.{re.escape(_short(out.name))}\.\d+-[0-9a-f]{{8}}\.(tmp|old)")
    return sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))


class _Guard:
    """Context manager: takes the lock of a temporary folder, or finds that its writer lives."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(".tmp")
        self._lock: int | None = None

    def __enter__(self) -> bool:
        try:
            self._lock = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:  # what was put aside outlives the temporary folder
            return True
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change names at once; False where the system cannot do that.

    Raises
    ------
    OSError
        It can, but not with these.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:  # another C library than glibc
        return False
    names = (os.fsencode(one), os.fsencode(other))
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))


def _short(name: str) -> str:
    encoded = os.fsencode(name)
    too_long = len(encoded) > _MAX_NAME_BYTES
    return hashlib.sha256(encoded).hexdigest()[:16] if too_long else name
