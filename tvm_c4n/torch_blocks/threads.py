"""Share independent work between threads, each calling torch single-threaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]``, as many at once as torch has threads.

    For work made of many short torch calls: to share each call between threads would cost a
    barrier per call, which on a busy machine takes longer than the call. Each thread has a whole
    item instead. The result does not depend on the number of threads.
    """
    with _one_thread_per_call() as threads:
        if threads == 1:  # as inside an item of another call: its thread cannot wait for itself
            return [function(item) for item in items]
        return list(_pool(threads).map(function, items))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the threads, which stay; each is told by itself to call torch single-threaded."""
    return ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1))


# In a fork the threads are gone.
os.register_at_fork(after_in_child=_pool.cache_clear)


@contextmanager
def _one_thread_per_call() -> Iterator[int]:
    """Make torch calls single-threaded inside the block; gives the number of threads before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
