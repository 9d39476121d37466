"""How many threads a model's steps take where nobody said: what is fastest, by a few steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

# Steps of each count that are timed, after one that is not.
STEPS = 5


def fastest_count(
    counts: Sequence[int],
    step: Callable[[int], object],
    clock: Callable[[], float] = perf_counter,
) -> int:
    """Return the count whose median step is the shortest; the first one of several.

    Parameters
    ----------
    counts : sequence of int
    step : callable
        ``step(count)`` takes a step with so many threads.
    clock : callable
        Seconds.
    """
    return min(counts, key=lambda count: _step_secs(count, step, clock))


def _step_secs(count: int, step: Callable[[int], object], clock: Callable[[], float]) -> float:
    secs = []
    for _ in range(STEPS + 1):
        began = clock()
        step(count)
        secs.append(clock() - began)
    return median(secs[1:])
