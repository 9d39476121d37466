"""Repeat a measurement until every thread had a core of its own while it ran.

TVM's threads spin while they wait for work, so threads with a core each use as much CPU time as
there are threads times the wall time. If the system keeps two of them on one core (it may leave a
thread that wakes up on the core of the one that woke it), or another program takes a core, they use
less. Times look plausible then: two threads on one core take as long as one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import TypeVar

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.thread_policy import POLICY

T = TypeVar("T")

# Repetitions that are left out: the first ones wake the threads up and fill the caches.
WARM_UPS = 10
# Seconds until a measurement is given up: some hundred times what a thread needs to find its core.
LIMIT_SECS = 10.0


def repeat(
    run: Callable[[], T], reps: int, threads: int, *, limit_secs: float = LIMIT_SECS
) -> list[T]:
    """Return the results of repetitions in which all threads had a core.

    Parameters
    ----------
    run : callable
        Uses all the threads of TVM's pool, and returns what it measured.
    reps : int
        Results wanted; disturbed repetitions are repeated.
    threads : int
        Threads of the pool, this one included.
    limit_secs : float

    Raises
    ------
    C4nError
        There were not enough such repetitions within the limit.
    """
    wanted = (1 - POLICY.lacking_ratio) * threads
    kept: list[T] = []
    best, warm_ups, end = 0.0, WARM_UPS, perf_counter() + limit_secs
    while len(kept) < reps:
        began, cpu_began = perf_counter(), process_time()
        result = run()
        ended = perf_counter()
        cores = (process_time() - cpu_began) / (ended - began)
        best = max(best, cores)
        if warm_ups:
            warm_ups -= 1
        elif cores >= wanted:
            kept.append(result)
        if ended > end and len(kept) < reps:
            raise C4nError(
                f"{threads} threads had {best:.2f} cores at best, and {wanted:.2f} in {len(kept)} "
                f"of {reps} repetitions within {limit_secs:g} s: other programs run, or the system "
                "keeps the threads on one core; measure on an idle machine, or with --threads 1"
            )
    return kept
