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
system. `thread_policy` has the thresholds, and `thread_controller` holds the state for an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

from tvm_c4n.runtime.thread_policy import Policy


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
    policy, place = context.policy, place_with_cores(context)
    fewer, more = (Backoff(0.0, s) for s in (policy.fewer_backoff_secs, policy.more_backoff_secs))
    return Steady(place, 0.0, History({}, fewer, more))


def place_with_cores(context: Context) -> int:
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
