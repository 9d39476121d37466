"""How many threads a decode step takes: fewer while others need the cores.

The threads of a step wait for each other at every barrier. Where another program takes one of the
cores, all wait for the thread that it keeps from running, and one thread alone is faster than two
that share. A step's CPU time shows it: undisturbed threads are on their cores all the time, working
or waiting for each other. When they are not, fewer threads are tried for a few steps and kept if
they are faster; later, more are tried again.
"""

from __future__ import annotations

from statistics import median

TRIAL = 3
"""Steps that a count of threads is judged by."""
HOPELESS = 1.5
"""A step that takes so many times as long as with the count before ends a trial at once."""
MISSING = 0.15
"""Part of the threads' time that most steps must miss before fewer threads are tried."""
SWAMPED = 4.0
"""Two steps after each other that take so many times as long as usual, or are the first ones, and
miss time, are enough. One is not: a thread that slept since the last text takes a step to wake."""
LONG = 0.02
"""Seconds that a first step must miss to be enough alone: no thread takes so long to wake."""
PATIENCE_FEWER, PATIENCE_MORE = 32, 128
"""Steps between trials that were in vain, doubled after each. A trial of more threads beside a busy
core is one step, but that one can take as long as thirty."""
MOST_PATIENCE = 1024


class Pace:
    """Chooses a count of threads for each step from the time that the last ones took.

    Parameters
    ----------
    most : int
        The user's choice; tried are its halves, down to 1.
    """

    def __init__(self, most: int):
        self._counts = [most]
        while self._counts[-1] > 1:
            self._counts.append(self._counts[-1] // 2)
        self._at = 0
        self._walls: list[float] = []
        self._missing: list[float] = []
        self._usual: dict[int, float] = {}
        self._slow = False
        # While another count is tried: the old one's place, and its seconds a step.
        self._before: tuple[int, float] | None = None
        self._fewer, self._more = _Wait(PATIENCE_FEWER), _Wait(PATIENCE_MORE)

    @property
    def threads(self) -> int:
        """For the next step."""
        return self._counts[self._at]

    def note(self, secs: float, cpu_secs: float) -> None:
        """Take notice of a step: its seconds, and those that all threads together had a core."""
        if len(self._counts) == 1:
            return
        missing = 1 - cpu_secs / (self.threads * secs)
        self._walls.append(secs)
        self._missing.append(missing)
        self._fewer.left -= 1
        self._more.left -= 1
        if self._before is not None:
            hopeless = secs > HOPELESS * self._before[1]
            if hopeless or len(self._walls) == TRIAL:
                taken = self._taken()
                self._judge(secs if hopeless else taken)
            return
        usual = self._usual.get(self._at)
        slow = missing > MISSING and (usual is None or secs > SWAMPED * usual)
        gone = usual is None and missing * self.threads * secs > LONG
        swamped, self._slow = slow and (self._slow or gone), slow
        if swamped and self.threads > 1:
            self._taken()
            self._usual.setdefault(self._at, secs)
            self._try(self._at + 1, secs)
        elif len(self._walls) == TRIAL:
            most_missed = median(self._missing) > MISSING
            taken = self._taken()
            self._usual[self._at] = min(taken, self._usual.get(self._at, taken))
            if most_missed and self.threads > 1 and self._fewer.left <= 0:
                self._try(self._at + 1, taken)
            elif self._at and self._more.left <= 0:
                self._try(self._at - 1, taken)

    def _taken(self) -> float:
        """Return what the last steps took, and begin to collect anew."""
        taken = median(self._walls)
        self._walls, self._missing = [], []
        return taken

    def _try(self, at: int, taken: float) -> None:
        self._before = self._at, taken
        self._at = at

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
            self._fewer.left = 0


class _Wait:
    """Steps that are left until the next trial in one direction."""

    def __init__(self, first: int):
        self._first = self._patience = first
        self.left = 0

    def start(self) -> None:
        """Wait as long as at first."""
        self._patience = self.left = self._first

    def in_vain(self) -> None:
        """Wait twice as long as before."""
        self.left = self._patience
        self._patience = min(2 * self._patience, MOST_PATIENCE)
