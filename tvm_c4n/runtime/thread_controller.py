"""The count of threads of an engine's next step, from what the last steps took."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter

from tvm_c4n.runtime.contention import cores_available
from tvm_c4n.runtime.thread_policy import POLICY, Policy
from tvm_c4n.runtime.thread_states import (
    Context,
    State,
    Steady,
    Window,
    observe,
    place_with_cores,
    start,
)

# Seconds for which an answer of the system holds: to ask takes 0.1 ms, and 1 ms with 64 threads.
ASK_SECS = 0.05


class ThreadController:
    """Chooses a count of threads for each step from the time that the last ones took.

    Parameters
    ----------
    most : int
        The user's choice; its halves, down to 1, are tried, too.
    available : callable
        Whether the system has a core for each of this many threads now.
    policy : Policy

    Attributes
    ----------
    threads : int
        For the next step.
    """

    def __init__(
        self,
        most: int,
        available: Callable[[int], bool] = cores_available,
        policy: Policy = POLICY,
    ) -> None:
        counts = [most]
        while counts[-1] > 1:
            counts.append(counts[-1] // 2)
        self._context = Context(tuple(counts), available, policy)
        self._window_secs = policy.window_secs
        self._with_cores, self._ask_at = most, 0.0
        self._start_window()
        self._take(start(self._context), 0.0)

    def threads_with_cores(self) -> int:
        """Return the largest count that the system says there are cores for now.

        For work that lasts long enough to ask before it, and differs too much from call to call to
        be compared: chunks of a prompt. The system is asked every `ASK_SECS`.
        """
        if perf_counter() >= self._ask_at:
            self._with_cores = self._context.counts[place_with_cores(self._context)]
            self._ask_at = perf_counter() + ASK_SECS
        return self._with_cores

    def observe(self, secs: float, cpu_secs: float) -> float:
        """Take in a step: its seconds, and those that all threads together had a core.

        Returns
        -------
        float
            Seconds in which the next steps need not be observed.
        """
        self._walls.append(secs)
        self._cpus.append(cpu_secs)
        self._passed_secs += secs + self._unwatched_secs
        # Between two steps Python is slow: the weights have pushed its objects out of the caches.
        # So states are only made where one may change.
        if cpu_secs > self._undisturbed * secs and self._passed_secs < self._window_secs:
            return self._unwatched_secs
        if len(self._context.counts) == 1:
            return math.inf
        window, began = Window(self._walls, self._cpus, self._passed_secs), self._state.began
        self._take(*observe(self._state, window, self._context))
        if self._state.began > began:
            self._start_window()
        return self._unwatched_secs

    def _take(self, state: State, unwatched_secs: float) -> None:
        self._state, self._unwatched_secs = state, unwatched_secs
        self.threads = self._context.counts[state.place]
        # CPU seconds per second of steps above which nothing is lacking. A step like that ends a
        # row of overloaded ones; with one thread there is nothing to choose.
        alert = len(self._context.counts) == 1 or (isinstance(state, Steady) and state.overloaded)
        lacking_ratio = self._context.policy.lacking_ratio
        self._undisturbed = math.inf if alert else (1 - lacking_ratio) * self.threads

    def _start_window(self) -> None:
        self._walls: list[float] = []
        self._cpus: list[float] = []
        self._passed_secs = 0.0
