"""What the cache of compiled models holds, and how it is emptied."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tvm_c4n.compile.cache import artifacts_folder
from tvm_c4n.errors import C4nError

# Of an entry whose model was not compiled to its end.
UNFINISHED = "(unfinished)"


@dataclass(frozen=True)
class Entry:
    """A compiled model in the cache.

    Attributes
    ----------
    name : str
        That of the model's folder. A model has one entry for each of its versions, and of this
        package's.
    folder : Path
    size_bytes : int
        Of all files.
    used : float
        When it was last used or compiled, in seconds since 1970.
    """

    name: str
    folder: Path
    size_bytes: int
    used: float


def entries() -> list[Entry]:
    """Return the cache's entries, those that were used last in front.

    Raises
    ------
    C4nError
        The cache cannot be read.
    """
    root = artifacts_folder()
    try:
        folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise C4nError(f"{root}: cannot be read: {error.strerror}") from None
    found = [entry for folder in folders if (entry := _entry(folder)) is not None]
    return sorted(found, key=lambda entry: (-entry.used, entry.name))


def remove(entry: Entry) -> bool:
    """Remove an entry; False if another process is compiling it.

    A model that runs goes on: the system keeps the files that it has open.

    Raises
    ------
    C4nError
        It cannot be removed.
    """
    try:
        descriptor = os.open(entry.folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise C4nError(f"{entry.folder}: cannot be removed: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.folder)
    except BlockingIOError:
        return False
    except OSError as error:
        raise C4nError(f"{entry.folder}: cannot be removed: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return True


def named(names: Collection[str]) -> list[Entry]:
    """Return the entries of some names; of all if there are none.

    Raises
    ------
    C4nError
        There is no entry of a name.
    """
    found = entries()
    for name in names:
        if name not in {entry.name for entry in found}:
            raise C4nError(f"{name}: no such model in the cache; 'tvm-c4n cache list' shows them")
    return [entry for entry in found if not names or entry.name in names]


def _entry(folder: Path) -> Entry | None:
    """Look at an entry; None if it is gone meanwhile."""
    try:
        models = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        files = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
        used = folder.stat().st_mtime
    except OSError:
        return None
    name = models[0] if len(models) == 1 else UNFINISHED
    return Entry(name, folder, sum(file.st_size for file in files), used)
