"""Share independent work between threads, each calling torch single-threaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
    with _one_thread_per_call() as threads, ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


@contextmanager
def _one_thread_per_call() -> Iterator[int]:
    """Make torch calls single-threaded inside the block; gives the number of threads before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
