"""Speed over minutes: a device that gets warm slows down, which a round of seconds does not show.

A model generates without a pause, from an empty state whenever its text is full. Every window of
some seconds has its tokens per second; the first and the last ones are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np

from tvm_c4n.errors import C4nError
from tvm_c4n.progress import Progress
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.bench import WARMUP_TOKENS, Benched

# The longest measurement, in minutes: a day.
MOST_MINUTES = 1440.0
# Windows of a measurement, and seconds of one, at least and at most.
WINDOWS = 20
WINDOW_SECS = (0.5, 30.0)
# Windows at either end that are compared: a tenth of them all.
_ENDS = 10
# Tokens of a text, where attention gives no bound: as in `bench`, none is longer than a few pages.
_TEXT_TOKENS = 1024
_SEED = 42


@dataclass
class Sustained:
    """What was measured.

    Attributes
    ----------
    window_secs : float
        Seconds of a window, at least: it ends with a token.
    rates : list of float
        Tokens per second of each window.
    asked_secs : float
        How long it should have taken.
    """

    window_secs: float
    asked_secs: float
    rates: list[float] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """Windows at either end that are compared."""
        return max(1, len(self.rates) // _ENDS)

    @property
    def first(self) -> float:
        """Tokens per second of the first windows."""
        return fmean(self.rates[: self.compared])

    @property
    def last(self) -> float:
        """Tokens per second of the last windows."""
        return fmean(self.rates[-self.compared :])

    @property
    def kept(self) -> float:
        """The last windows' speed by the first ones'."""
        return self.last / self.first

    @property
    def complete(self) -> bool:
        """Whether it took as long as was asked for."""
        return (len(self.rates) + 0.5) * self.window_secs >= self.asked_secs

    def as_json(self) -> dict[str, Any]:
        """Name all of it."""
        return {
            "asked_secs": self.asked_secs,
            "window_secs": self.window_secs,
            "windows_ts": list(self.rates),
            "first_ts": self.first,
            "last_ts": self.last,
            "kept": self.kept,
            "complete": self.complete,
        }


def check_minutes(minutes: float) -> None:
    """Raise C4nError unless a measurement may take so many minutes."""
    if not 0 < minutes <= MOST_MINUTES:
        raise C4nError(f"--sustained {minutes:g}: use minutes above 0, at most {MOST_MINUTES:.0f}")


def measure_sustained(
    model: Benched,
    threads: int,
    minutes: float,
    progress: Progress | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Sustained:
    """Generate for minutes; Ctrl-C ends it early with what there is, if there is a window.

    Parameters
    ----------
    model : Benched
    threads : int
    minutes : float
    progress : callable, optional
        ``progress(what, done, total)`` after each window.
    clock : callable
        Seconds.
    """
    secs = 60 * minutes
    low, high = WINDOW_SECS
    found = Sustained(min(max(secs / WINDOWS, low), high), secs)
    total = max(1, round(secs / found.window_secs))
    huge_pages.wait()
    model.set_threads(threads)
    length = min(_TEXT_TOKENS, model.config.context or _TEXT_TOKENS)
    ids = np.random.default_rng(_SEED).integers(1, model.config.vocab_size, length)
    text = [0, *(int(token) for token in ids[1:])]
    model.reset()
    for token in text[:WARMUP_TOKENS]:  # touches the weights and starts the threads
        model.step(token)
    place = 0
    try:
        while len(found.rates) < total:
            began, tokens, passed = clock(), 0, 0.0
            while passed < found.window_secs:
                if place == 0:
                    model.reset()
                model.step(text[place])
                place = (place + 1) % length
                tokens += 1
                passed = clock() - began
            found.rates.append(tokens / passed)
            if progress is not None:
                progress("sustained", len(found.rates), total)
    except KeyboardInterrupt:
        if not found.rates:
            raise
    return found
