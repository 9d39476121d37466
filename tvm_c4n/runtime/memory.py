"""Bring a file into memory in the form that the processor reads fastest."""

from __future__ import annotations

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HUGE_PAGE = 2 << 20
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PIECE = 32 << 20


def read_block(file: Path) -> NDArray[np.uint8]:
    """Return the content of a file.

    Where the system gives out huge pages, the file is read into them by all cores: with 4 KiB pages
    a core spends a part of its time on looking addresses up. Elsewhere the file is mapped.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is empty.
    """
    if not _huge_pages():
        return np.memmap(file, np.uint8, mode="c")
    size = file.stat().st_size
    if size == 0:
        raise ValueError(f"{file} is empty")
    block = _aligned(size)
    with file.open("rb", buffering=0) as stream, ThreadPoolExecutor(os.cpu_count()) as pool:
        pieces = range(0, size, _PIECE)
        done = list(pool.map(lambda at: _read(stream.fileno(), block, at), pieces))
    if sum(done) != size:
        raise OSError(f"{file} became shorter while it was read")
    return block


def _huge_pages() -> bool:
    """Return whether a program may ask for huge pages."""
    try:
        return "[never]" not in _SETTING.read_text(encoding="ascii")
    except OSError:
        return False


def _aligned(size: int) -> NDArray[np.uint8]:
    """Allocate bytes that start at a huge page."""
    memory = mmap.mmap(-1, size + HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % HUGE_PAGE
    return whole[start : start + size]


def _read(descriptor: int, block: NDArray[np.uint8], at: int) -> int:
    """Fill a piece of the block; returns the bytes that were there."""
    view = block[at : at + _PIECE].data
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], at + done)
        if count == 0:
            break
        done += count
    return done
