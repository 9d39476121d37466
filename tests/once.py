"""What takes long to make is made once for all processes that run the tests."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Make = Callable[[Path], object]


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder of this run of the tests, the same one in each of its processes."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Make) -> Path:
    """Return ``make(path)``'s path, which ends with `name`; the first process to ask calls it.

    Tests change copies. The others wait for the first one; if that fails, the next one tries.
    """
    path = shared_folder(factory) / "once" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = path.with_name(f"{path.name}.done")
        if not done.exists():
            make(path)
            done.touch()
    return path
