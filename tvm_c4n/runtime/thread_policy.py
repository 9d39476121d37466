"""How many threads work takes: fewer while other programs need the cores.

The threads of a step wait for each other at every barrier. Where another program takes one of the
cores, all wait for the thread that lost its core, and one thread alone is faster than two that
share. CPU time shows it: undisturbed threads are on their cores all the time, working or waiting
for each other. So the controller watches wall time and CPU time of steps:

======== ================================================ =======================================
state    what it sees                                     next state
======== ================================================ =======================================
Steady   steps overloaded: far slower than usual          Probing fewer threads
Steady   threads lack CPU time, fewer not backed off      Probing fewer threads
Steady   cores are available, more not backed off         Probing more threads
Probing  faster than before                               Steady with the new count
Probing  not faster                                       Steady with the old count, longer back-off
======== ================================================ =======================================

`observe` is that table as a pure function: it reads no clock, and only `Context.available` asks the
system. `ThreadController` holds its state for an engine. docs/decisions/thread-policy.md has the
measurements behind `Policy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import NamedTuple

from tvm_c4n.runtime.contention import cores_available


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

# Seconds for which an answer of the system holds: to ask takes 0.1 ms, and 1 ms with 64 threads.
ASK_SECS = 0.05


class Context(NamedTuple):
    """What does not change from step to step.

    Attributes
    ----------
    counts : tuple of int
        The user's count of threads, its half, ... and 1.
    available : callable
        Whether the system has a core for each of this many threads now.
    policy : Policy
    """

    counts: tuple[int, ...]
    available: Callable[[int], bool]
    policy: Policy


class Window(NamedTuple):
    """Watched steps since the state or its count of threads was last decided on.

    Attributes
    ----------
    walls, cpus : sequence of float
        Wall time of each step, and CPU time of all its threads together; seconds.
    passed_secs : float
        Wall time of all steps, unwatched ones included.
    """

    walls: Sequence[float]
    cpus: Sequence[float]
    passed_secs: float


@dataclass(frozen=True)
class Backoff:
    """When threads may be probed again in one direction, by the states' clock."""

    until: float
    next_secs: float

    def after_failure(self, clock: float, policy: Policy) -> Backoff:
        """Wait, and after the next failure twice as long."""
        longer = min(2 * self.next_secs, policy.max_backoff_secs)
        return Backoff(clock + self.next_secs, longer)


@dataclass(frozen=True)
class History:
    """What outlives a window: the fastest median by place in `Context.counts`, and back-offs."""

    usual: Mapping[int, float]
    fewer: Backoff
    more: Backoff


@dataclass(frozen=True)
class Steady:
    """The count of threads is kept.

    Attributes
    ----------
    place : int
        Index of the count in `Context.counts`.
    began : float
        When the window began: seconds of steps since the controller was made.
    history : History
    overloaded : tuple of float
        CPU seconds that each of the last steps lacked, if all of them were far slower than usual.
    """

    place: int
    began: float
    history: History
    overloaded: tuple[float, ...] = ()


@dataclass(frozen=True)
class Probing:
    """Another count of threads is tried.

    Attributes
    ----------
    place, began, history
        See `Steady`.
    before, before_secs : int, float
        Place of the count before, and the seconds that a step took with it.
    """

    place: int
    began: float
    history: History
    before: int
    before_secs: float


State = Steady | Probing


def start(context: Context) -> Steady:
    """Return the first state: with as many threads as the system says there are cores for."""
    policy, place = context.policy, _place_with_cores(context)
    fewer, more = (Backoff(0.0, s) for s in (policy.fewer_backoff_secs, policy.more_backoff_secs))
    return Steady(place, 0.0, History({}, fewer, more))


def _place_with_cores(context: Context) -> int:
    """Return the place of the largest count that the system says there are cores for now."""
    return next(i for i, n in enumerate(context.counts) if n == 1 or context.available(n))


def observe(state: State, window: Window, context: Context) -> tuple[State, float]:
    """Return the state after a watched step, the last one of a window.

    Parameters
    ----------
    state : Steady or Probing
    window : Window
        Steps with ``context.counts[state.place]`` threads since ``state.began``.
    context : Context

    Returns
    -------
    state : Steady or Probing
        A later ``began`` than that of the old state starts a new window.
    unwatched_secs : float
        Seconds in which the next steps need not be watched.
    """
    if isinstance(state, Probing):
        after = _end_probe(state, window, context.policy)
    else:
        after = _keep(state, window, context)
    if isinstance(after, Probing) or after.overloaded or after.place not in after.history.usual:
        return after, 0.0
    return after, context.policy.unwatched_secs


def _keep(state: Steady, window: Window, context: Context) -> State:
    """Rows 1 to 3 of the table: probe another count if there is a reason to, else keep it."""
    place, history, policy = state.place, state.history, context.policy
    threads, clock = context.counts[place], state.began + window.passed_secs
    secs, usual = window.walls[-1], history.usual.get(place)
    lacking = 1 - window.cpus[-1] / (threads * secs)
    overloaded: tuple[float, ...] = ()
    if lacking >= policy.lacking_ratio and (usual is None or secs >= policy.overload_ratio * usual):
        overloaded = (*state.overloaded, lacking * threads * secs)
    # The first step with a count has no usual time that would tell a hiccup: one is enough.
    enough = len(overloaded) >= (1 if usual is None else 2)
    if enough and threads > 1 and sum(overloaded) > policy.window_secs:
        known = _with_usual(history, place, secs) if usual is None else history
        return Probing(place + 1, clock, known, place, secs)
    if window.passed_secs < policy.window_secs or len(window.walls) < policy.window_steps:
        return Steady(place, state.began, history, overloaded)
    taken = median(window.walls)
    if usual is None or taken < usual:
        history = _with_usual(history, place, taken)
    ratios = [cpu / wall for wall, cpu in zip(window.walls, window.cpus, strict=True)]
    lacking = 1 - median(ratios) / threads
    if lacking > policy.lacking_ratio and threads > 1 and clock >= history.fewer.until:
        return Probing(place + 1, clock, history, place, taken)
    may_grow = place > 0 and clock >= history.more.until
    if may_grow and context.available(context.counts[place - 1]):
        return Probing(place - 1, clock, history, place, taken)
    return Steady(place, clock, history, overloaded)


def _end_probe(state: Probing, window: Window, policy: Policy) -> State:
    """Rows 4 and 5 of the table: end a probe when it has shown enough."""
    hopeless = window.walls[-1] > policy.hopeless_ratio * state.before_secs
    enough = len(window.walls) >= policy.window_steps or hopeless
    if not enough or window.passed_secs < policy.window_secs:
        return state
    clock, tried_fewer = state.began + window.passed_secs, state.place > state.before
    place, fewer, more = state.place, state.history.fewer, state.history.more
    if median(window.walls) >= state.before_secs:
        place = state.before
        if tried_fewer:
            fewer = fewer.after_failure(clock, policy)
        else:
            more = more.after_failure(clock, policy)
    elif tried_fewer:
        more = Backoff(clock + policy.more_backoff_secs, policy.more_backoff_secs)
    else:
        fewer = replace(fewer, until=clock)
    return Steady(place, clock, History(state.history.usual, fewer, more))


def _with_usual(history: History, place: int, secs: float) -> History:
    return replace(history, usual={**history.usual, place: secs})


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
            self._with_cores = self._context.counts[_place_with_cores(self._context)]
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
