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
MISSING, MOSTLY_MISSING = 0.15, 0.5
"""Part of the threads' time that must be missing before fewer of them are tried: of a few steps, or
of a single one."""
PATIENCE = 32
"""Steps between trials; doubled after each that was in vain."""
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
        self._on_cores = 0.0
        # While another count is tried: the old one's place, and its seconds a step.
        self._before: tuple[int, float] | None = None
        self._patience, self._rest = PATIENCE, 0

    @property
    def threads(self) -> int:
        """For the next step."""
        return self._counts[self._at]

    def note(self, secs: float, cpu_secs: float) -> None:
        """Take notice of a step: its seconds, and those that all threads together had a core."""
        if len(self._counts) == 1:
            return
        walls = self._walls
        walls.append(secs)
        self._on_cores += cpu_secs
        self._rest -= 1
        if self._before is None:
            at_once = self._rest <= 0 and cpu_secs < (1 - MOSTLY_MISSING) * self.threads * secs
        else:
            at_once = secs > HOPELESS * self._before[1]
        if len(walls) < TRIAL and not at_once:
            return
        taken, on_cores = median(walls), self._on_cores / (self.threads * sum(walls))
        self._walls, self._on_cores = [], 0.0
        if self._before is not None:
            self._judge(secs if at_once else taken)
        elif self._rest > 0:
            return
        elif on_cores < 1 - MISSING and self.threads > 1:
            self._try(self._at + 1, taken)
        elif self._at:
            self._try(self._at - 1, taken)

    def _try(self, at: int, taken: float) -> None:
        self._before = self._at, taken
        self._at = at

    def _judge(self, taken: float) -> None:
        """Keep the count that was tried, or return to the one before."""
        assert self._before is not None  # noqa: S101 - a trial has ended
        at, before = self._before
        self._before = None
        if taken >= before:
            self._at = at
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        elif self._at < at:
            self._patience = PATIENCE
        self._rest = self._patience
