"""The thresholds of `thread_states`; docs/decisions/thread-policy.md has the measurements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """When other counts of threads are tried, and for how long.

    Attributes
    ----------
    window_secs : float
        Seconds of steps that a count is judged by, at least. A pool's thread that wakes up may
        share a core with the thread that woke it for 10 ms, until the system's next tick moves it;
        twice that is no accident any more.
    window_steps : int
        Steps that a count is judged by, at least: the median of three ignores one hiccup.
    hopeless_ratio : float
        A probe whose step takes this many times as long as with the count before ends after
        `window_secs`, without `window_steps`: next to a busy core one such step can take as long as
        thirty of the usual ones.
    unwatched_secs : float
        Seconds of steps between two that are watched, where nothing is unusual: the clocks cost a
        few percent of a step of 0.3 ms.
    lacking_ratio : float
        Share of the threads' time without a core from which fewer threads are probed; undisturbed
        steps stay below it.
    overload_ratio : float
        Consecutive steps this many times slower than usual that together lack `window_secs` of CPU
        time are not waited for: fewer threads are probed at once. One such step is a hiccup, unless
        it is the first one with its count.
    fewer_backoff_secs, more_backoff_secs : float
        Seconds until the next probe of fewer or of more threads after one that failed; doubled by
        each further failure. A failed probe of more costs more, so it waits longer.
    max_backoff_secs : float
        The longest back-off: a program that ends gives its core back within this time.
    """

    window_secs: float = 0.02
    window_steps: int = 3
    hopeless_ratio: float = 1.5
    unwatched_secs: float = 0.002
    lacking_ratio: float = 0.15
    overload_ratio: float = 4.0
    fewer_backoff_secs: float = 0.1
    more_backoff_secs: float = 0.5
    max_backoff_secs: float = 8.0


POLICY = Policy()
