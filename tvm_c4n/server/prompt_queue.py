"""Prompts that wait, and those that are being read in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import cast

from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.prefix_cache import Kept, PrefixCache
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.job import Job
from tvm_c4n.server.metrics import Metrics
from tvm_c4n.server.prompt_reading import Borders, Pace, Reading


class PromptQueue:
    """The prompts of one model.

    Parameters
    ----------
    engine : Engine
    cache : PrefixCache
    metrics : Metrics
    """

    def __init__(self, engine: Engine, cache: PrefixCache, metrics: Metrics) -> None:
        self._engine, self._cache, self._metrics = engine, cache, metrics
        self._pace = Pace(engine.manifest.chunk)
        self._borders = Borders()
        self._waiting: deque[Job] = deque()
        self._reading: deque[Reading] = deque()

    @property
    def waiting(self) -> int:
        """Prompts whose reading has not begun."""
        return len(self._waiting)

    @property
    def reading(self) -> int:
        """Prompts that are being read."""
        return len(self._reading)

    @property
    def busy(self) -> bool:
        """Whether there is a prompt."""
        return bool(self._waiting or self._reading)

    @property
    def jobs(self) -> list[Job]:
        """The jobs of all prompts."""
        return [*self._waiting, *(reading.job for reading in self._reading)]

    def add(self, job: Job) -> None:
        """Take on a prompt."""
        self._waiting.append(job)

    def clear(self) -> None:
        """Forget all prompts."""
        self._waiting.clear()
        self._reading.clear()

    def sweep(self) -> None:
        """Let go of prompts whose client left or whose time is over."""
        late = [job for job in self.jobs if job.over]
        if not late:
            return
        for job in late:
            job.mailbox.fail(_late())
        self._waiting = deque(job for job in self._waiting if not job.over)
        self._reading = deque(reading for reading in self._reading if not reading.job.over)

    def admit(self, most: int) -> None:
        """Begin to read prompts, until so many are being read."""
        while self._waiting and len(self._reading) < most:
            job = self._waiting[0]
            kept = None
            if not job.scores_prompt:
                kept = self._cache.longest(job.ids, self._engine.fingerprint)
            reading = Reading(job, kept, self._borders.of(job.ids))
            job.cached = reading.at
            self._metrics.begun(job)
            self._reading.append(reading)
            self._waiting.popleft()

    def read(self, secs: float, begin: Callable[[Job, Kept], None]) -> None:
        """Read a part of the prompt whose turn it is.

        Parameters
        ----------
        secs : float
            That the part should take.
        begin : callable
            Called as ``begin(job, kept)`` for a prompt that is read.
        """
        reading = self._reading[0]
        if not reading.done:
            began, at = perf_counter(), reading.at
            reading.read(self._engine, self._cache, self._pace.tokens(secs))
            self._pace.observe(reading.at - at, began)
            self._metrics.read(reading.at - at)
        if reading.done:
            begin(reading.job, cast(Kept, reading.kept))
            self._reading.popleft()
        else:
            self._reading.rotate(-1)


def _late() -> ApiError:
    return ApiError(
        503,
        "the answer did not begin in time: ask again, with a shorter prompt",
        code="timeout",
        headers={"Retry-After": "5"},
    )
