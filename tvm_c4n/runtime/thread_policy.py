"""How many threads a decode step takes: fewer while others need the cores.

The threads of a step wait for each other at every barrier. Where another program takes one of the
cores, all wait for the thread that it keeps from running, and one thread alone is faster than two
that share. A step's CPU time shows it: undisturbed threads are on their cores all the time, working
or waiting for each other. When they are not, fewer threads are tried for a while and kept if they
are faster; later, more are tried again.

What looks the same for a moment is a thread that wakes up: the system may put it on the core of the
one that woke it, and moves it when its next tick comes, some 10 milliseconds later. So nothing is
decided by less than 20 milliseconds.

One step beside a busy core can take as long as fifty. So where the system says that cores are taken
(`others`), more threads are not even tried, and the first step begins with fewer.

To watch a step costs a few percent of a short one, so short ones are looked at now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

from tvm_c4n.runtime.contention import cores_available

PERIOD, TRIAL = 0.02, 3
"""Seconds, and steps, that a count of threads is judged by, at least."""
HOPELESS = 1.5
"""Steps that take so many times as long as with the count before end a trial after `PERIOD`."""
UNWATCHED = 0.002
"""Seconds of steps that may go by between two that are noted."""
MISSING = 0.15
"""Part of the threads' time that most steps must miss before fewer threads are tried."""
SWAMPED = 4.0
"""Steps after each other that take so many times as long as usual, or are the first ones, and miss
`PERIOD` together are enough, though they be few. One that is unusual is a hiccup."""
PATIENCE_FEWER, PATIENCE_MORE, MOST_PATIENCE = 0.1, 0.5, 8.0
"""Seconds between trials that were in vain: at first, doubled after each, at most. Beside a busy
core one step of a trial of more threads can take as long as thirty."""


class ThreadPolicy:
    """Chooses a count of threads for each step from the time that the last ones took.

    Parameters
    ----------
    most : int
        The user's choice; tried are its halves, down to 1.
    room : callable
        Whether so many threads have a core each.
    """

    def __init__(self, most: int, room: Callable[[int], bool] = cores_available):
        self._counts = [most]
        while self._counts[-1] > 1:
            self._counts.append(self._counts[-1] // 2)
        self._room = room
        self._at = next((i for i, n in enumerate(self._counts) if n == 1 or room(n)))
        self._usual: dict[int, float] = {}
        self._passed = 0.0
        """Seconds with this count, those of steps that were not noted included."""
        self._walls: list[float] = []
        self._missing: list[float] = []
        self._slow: list[float] = []
        """Seconds that the last steps missed, all of them far slower than usual."""
        # While another count is tried: the old one's place, and its seconds a step.
        self._before: tuple[int, float] | None = None
        self._unwatched = 0.0
        self._fewer, self._more = _Wait(PATIENCE_FEWER), _Wait(PATIENCE_MORE)

    @property
    def threads(self) -> int:
        """For the next step."""
        return self._counts[self._at]

    def observe(self, secs: float, cpu_secs: float) -> float:
        """Take notice of a step: its seconds, and those that all threads together had a core.

        Returns
        -------
        float
            Seconds in which the next steps need not be noted.
        """
        if len(self._counts) == 1:
            return math.inf
        missing = 1 - cpu_secs / (self.threads * secs)
        self._walls.append(secs)
        self._missing.append(missing)
        passed = secs + self._unwatched
        self._passed += passed
        self._fewer.left -= passed
        self._more.left -= passed
        long = self._passed >= PERIOD
        if self._before is not None:
            if long and (len(self._walls) >= TRIAL or secs > HOPELESS * self._before[1]):
                self._judge(median(self._walls))
        elif self._swamped(secs, missing):
            self._usual.setdefault(self._at, secs)
            self._try(self._at + 1, secs)
        elif long and len(self._walls) >= TRIAL:
            self._decide(median(self._walls), median(self._missing))
        watchful = self._before is not None or self._slow or self._at not in self._usual
        self._unwatched = 0.0 if watchful else UNWATCHED
        return self._unwatched

    def _swamped(self, secs: float, missing: float) -> bool:
        usual = self._usual.get(self._at)
        if missing < MISSING or (usual is not None and secs < SWAMPED * usual):
            self._slow = []
            return False
        self._slow.append(missing * self.threads * secs)
        enough = 1 if usual is None else 2
        return self.threads > 1 and sum(self._slow) > PERIOD and len(self._slow) >= enough

    def _decide(self, taken: float, missing: float) -> None:
        """Try another count after some steps with this one, if it is time for it."""
        self._usual[self._at] = min(taken, self._usual.get(self._at, taken))
        if missing > MISSING and self.threads > 1 and self._fewer.left <= 0:
            self._try(self._at + 1, taken)
        elif self._at and self._more.left <= 0 and self._room(self._counts[self._at - 1]):
            self._try(self._at - 1, taken)
        else:
            self._restart()

    def _try(self, at: int, taken: float) -> None:
        self._before = self._at, taken
        self._at = at
        self._forget()

    def _judge(self, taken: float) -> None:
        """Keep the count that was tried, or return to the one before."""
        assert self._before is not None  # noqa: S101 - a trial has ended
        at, before = self._before
        self._before = None
        tried = self._fewer if self._at > at else self._more
        if taken >= before:
            self._at = at
            tried.in_vain()
        elif tried is self._fewer:
            self._more.start()
        else:
            self._fewer.left = 0.0
        self._forget()

    def _forget(self) -> None:
        self._restart()
        self._slow = []

    def _restart(self) -> None:
        self._walls, self._missing, self._passed = [], [], 0.0


class _Wait:
    """Seconds that are left until the next trial in one direction."""

    def __init__(self, first: float):
        self._first = self._patience = first
        self.left = 0.0

    def start(self) -> None:
        """Wait as long as at first."""
        self._patience = self.left = self._first

    def in_vain(self) -> None:
        """Wait twice as long as before."""
        self.left = self._patience
        self._patience = min(2 * self._patience, MOST_PATIENCE)
