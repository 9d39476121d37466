"""How fast this machine reads memory, or what of it its caches hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.runtime.thread_pool import default_threads

# Larger than any cache; half as much for each of two threads still is.
MEMORY_BYTES = 256 << 20
# What is timed at once, at least: starting the threads takes some 50 us.
_TIMED_BYTES = 64 << 20


def read_bandwidth(
    secs: float, *, working_set_bytes: int = MEMORY_BYTES, threads: int | None = None
) -> float:
    """Measure how fast threads read the same bytes again and again, in bytes/s.

    The largest of as many passes as fit into `secs`: other programs only slow them.

    Parameters
    ----------
    secs : float
    working_set_bytes : int
        What all threads together read in a pass, each its part. Of a size that caches hold, the
        caches are measured.
    threads : int, optional
        Default: one for each core.
    """
    count = threads or default_threads()
    parts = np.array_split(np.ones(max(count, working_set_bytes // 8), np.int64), count)
    passes = max(1, _TIMED_BYTES // working_set_bytes)

    def read(part: NDArray[np.int64]) -> None:
        for _ in range(passes):
            np.max(part)

    best, ends = 0.0, perf_counter() + secs
    with ThreadPoolExecutor(count) as pool:
        while perf_counter() < ends or not best:
            began = perf_counter()
            list(pool.map(read, parts))
            best = max(best, passes * working_set_bytes / (perf_counter() - began))
    return best
