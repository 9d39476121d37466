"""Map a file at once, and migrate it to huge pages in the background.

With pages of 4 KiB a core spends part of its time on looking up addresses, and a mapped file has
only such pages. But copying gigabytes into huge pages takes longer than a start should. So the file
is mapped, which takes no time, and a thread replaces the mapping piece by piece with huge pages of
the same content, while the model runs. docs/decisions/huge-pages.md has the measurements.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HUGE_PAGE = 2 << 20
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PIECE = 16 << 20
# From <sys/mman.h>; Python has no names for these.
_MAP_FIXED, _MREMAP_TO = 0x10, 0x1 | 0x2
_migrating: list[threading.Thread] = []


def map_file(file: Path) -> NDArray[np.uint8]:
    """Return the content of a file: mapped at once, in huge pages some time later.

    Writes stay in memory, and may get lost while pages migrate.

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
    block = _room(size)
    with file.open("rb", buffering=0) as stream:
        descriptor = os.dup(stream.fileno())
    _map(size, mmap.MAP_PRIVATE | _MAP_FIXED, descriptor, block.ctypes.data)
    thread = threading.Thread(target=_migrate, args=(descriptor, block), daemon=True)
    _migrating[:] = [other for other in _migrating if other.is_alive()] + [thread]
    thread.start()
    return block


def allocate(size: int) -> NDArray[np.uint8]:
    """Return fresh memory of this many bytes, in huge pages if the system has them."""
    block = _room(size)
    if _huge_pages():
        _LIBC.madvise(block.ctypes.data, size, mmap.MADV_HUGEPAGE)  # a refusal costs speed only
    return block


def wait() -> None:
    """Wait until all mapped files lie in huge pages: before measuring speed."""
    for thread in _migrating:
        thread.join()


def ready() -> bool:
    """Return whether all mapped files lie in huge pages; until then a thread is busy."""
    return not any(thread.is_alive() for thread in _migrating)


def _huge_pages() -> bool:
    """Return whether a program may ask for huge pages."""
    try:
        return "[never]" not in _SETTING.read_text(encoding="ascii")
    except OSError:
        return False


def _room(size: int) -> NDArray[np.uint8]:
    """Return fresh memory whose address is a multiple of `HUGE_PAGE`."""
    memory = np.frombuffer(mmap.mmap(-1, size + HUGE_PAGE, mmap.MAP_PRIVATE), np.uint8)
    start = -memory.ctypes.data % HUGE_PAGE
    return memory[start : start + size]


def _migrate(descriptor: int, block: NDArray[np.uint8]) -> None:
    """Replace a mapping by huge pages with the file's content; where that fails it stays."""
    try:
        for at in range(0, len(block) // HUGE_PAGE * HUGE_PAGE, _PIECE):
            size = min(_PIECE, (len(block) - at) // HUGE_PAGE * HUGE_PAGE)
            _replace(descriptor, at, block.ctypes.data + at, size)
    except OSError:
        return
    finally:
        os.close(descriptor)


def _replace(descriptor: int, at: int, target: int, size: int) -> None:
    """Read a piece into huge pages elsewhere and move them, at once, over a mapping of it."""
    room = size + HUGE_PAGE
    found = _map(room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = found + -found % HUGE_PAGE
    moved = False
    try:
        _LIBC.madvise(first, size, mmap.MADV_HUGEPAGE)  # a refusal costs speed only
        done, view = 0, memoryview((ctypes.c_char * size).from_address(first)).cast("B")
        while done < size:
            count = os.preadv(descriptor, [view[done:]], at + done)
            if count == 0:
                raise OSError("the file became shorter")
            done += count
        moved = _LIBC.mremap(first, size, size, _MREMAP_TO, target) != _FAILED
        if not moved:
            raise OSError(ctypes.get_errno(), "mremap")
    finally:
        ends = [(found, first), (first + size, found + room)] if moved else [(found, found + room)]
        for begin, end in ends:
            if end > begin:
                _LIBC.munmap(begin, end - begin)


def _map(size: int, flags: int, descriptor: int = -1, where: int | None = None) -> int:
    """Call mmap for readable and writable memory; returns its address."""
    access = mmap.PROT_READ | mmap.PROT_WRITE
    found = int(_LIBC.mmap(where, size, access, flags, descriptor, 0))
    if found == _FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return found


def _libc() -> ctypes.CDLL:
    """Return the C library with the types of what is called here."""
    lib = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    lib.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_ssize_t]
    lib.mremap.argtypes = [pointer, size, size, number, pointer]
    lib.munmap.argtypes = [pointer, size]
    lib.madvise.argtypes = [pointer, size, number]
    lib.mmap.restype = lib.mremap.restype = size
    return lib


_LIBC = _libc()
_FAILED = ctypes.c_size_t(-1).value
