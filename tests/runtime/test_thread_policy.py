"""The count of threads follows what others leave of the machine."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from tvm_c4n.runtime.thread_policy import (
    POLICY,
    Backoff,
    Context,
    History,
    Probing,
    State,
    Steady,
    ThreadController,
    Window,
    observe,
    start,
)

# By count of threads: seconds of a step, and those that the threads had cores.
Machine = dict[int, tuple[float, float]]

ALONE: Machine = {1: (1.8e-3, 1.8e-3), 2: (1e-3, 2e-3)}
# The same while another program keeps a core busy: three threads share two cores.
BESIDE: Machine = {1: (1.8e-3, 1.8e-3), 2: (4e-3, 5.3e-3)}


def free(most: int) -> ThreadController:
    """Where the system says nothing of others: only the steps' times show them."""
    return ThreadController(most, lambda threads: True)


def run(controller: ThreadController, machine: Machine, secs: float) -> list[int]:
    """Take steps for some seconds; returns the threads of each."""
    counts, unwatched = [], 0.0
    while secs > 0:
        counts.append(controller.threads)
        taken = machine[controller.threads]
        if unwatched <= 0:
            unwatched = controller.observe(*taken)
        else:
            unwatched -= taken[0]
        secs -= taken[0]
    return counts


def took(counts: list[int], machine: Machine) -> float:
    """Seconds of steps."""
    return sum(machine[count][0] for count in counts)


def test_undisturbed_steps_take_all_threads() -> None:
    assert set(run(free(2), ALONE, 5.0)) == {2}


def test_one_thread_is_taken_while_a_core_is_busy() -> None:
    counts = run(free(2), BESIDE, 4.0)
    assert took([c for c in counts[:50] if c == 2], BESIDE) < 2 * POLICY.window_secs
    assert took(counts, BESIDE) < 1.2 * len(counts) * BESIDE[1][0]


def test_all_threads_come_back_when_the_core_is_free() -> None:
    controller = free(2)
    run(controller, BESIDE, 4 * POLICY.more_backoff_secs)
    assert set(run(controller, ALONE, 20 * POLICY.more_backoff_secs)[-1000:]) == {2}


def test_one_long_first_step_is_enough() -> None:
    swamped: Machine = {1: (1.8e-3, 1.8e-3), 2: (0.1, 4e-3)}
    assert run(free(2), swamped, 0.15)[:2] == [2, 1]


@pytest.mark.parametrize("step", [0.2e-3, 4e-3, 20e-3])
def test_a_thread_that_wakes_up_is_waited_for(step: float) -> None:
    """Two threads share a core for 10 ms, until the system moves one of them."""
    awake: Machine = {1: (1.6 * step, 1.6 * step), 2: (step, 2 * step)}
    controller, together, unwatched = free(2), 0.01, 0.0
    while together > 0:
        shared = min(together, 2 * step)
        secs = step + shared / 2
        assert controller.threads == 2
        unwatched -= secs
        if unwatched <= 0:
            unwatched = controller.observe(secs, 2 * secs - shared)
        together -= shared
    assert set(run(controller, awake, 2.0)) == {2}


def test_a_trial_of_more_threads_waits_for_them_to_wake_up() -> None:
    controller, woken = free(2), {1: (1.8e-3, 1.8e-3), 2: (3e-3, 3e-3)}
    run(controller, BESIDE, POLICY.window_secs + POLICY.more_backoff_secs / 2)
    assert controller.threads == 1
    while controller.threads == 1:
        run(controller, ALONE, 1e-3)
    run(controller, woken, 0.01)
    assert set(run(controller, ALONE, 1.0)) == {2}


def test_a_hopeless_trial_ends_early() -> None:
    crawling: Machine = {1: (1.8e-3, 1.8e-3), 2: (POLICY.window_secs, POLICY.window_secs)}
    counts = run(free(2), crawling, 2 * POLICY.more_backoff_secs)
    assert counts[POLICY.window_steps :].count(2) == 1


def test_steps_far_slower_than_usual_are_not_waited_for() -> None:
    """Not even soon after a trial in vain. One alone is a hiccup."""
    controller = free(2)
    run(controller, ALONE, 0.1)
    run(controller, {1: (9e-3, 9e-3), 2: (1.3e-3, 2e-3)}, 0.1)  # fewer threads were tried, in vain
    assert controller.threads == 2
    swamped: Machine = {1: (1.8e-3, 1.8e-3), 2: (0.04, 0.05)}
    assert set(run(controller, swamped, 0.03) + run(controller, ALONE, 0.05)) == {2}
    assert run(controller, swamped, 0.1)[:3] == [2, 2, 1]


def test_trials_in_vain_become_rare() -> None:
    """Neither count is better for long: a slow machine is not made slower by trying."""
    slow: Machine = {1: (9e-3, 9e-3), 2: (4e-3, 5.3e-3)}
    controller = free(2)
    run(controller, slow, 4 * POLICY.max_backoff_secs)
    assert run(controller, slow, 2 * POLICY.max_backoff_secs).count(1) <= 2 * (
        POLICY.window_steps + 1
    )


@pytest.mark.parametrize("most", [3, 8])
def test_counts_are_halved_down_to_one(most: int) -> None:
    fewest_best = {n: (n * 1e-3, 0.5e-3 * n * n) for n in range(1, 9)}
    assert run(free(most), fewest_best, 0.5)[-1] == 1


def test_one_thread_needs_no_choice() -> None:
    assert set(run(free(1), {1: (1e-3, 1e-4)}, 0.05)) == {1}


def test_what_the_system_says_spares_the_trials() -> None:
    taken = True
    controller = ThreadController(4, lambda threads: not taken or threads <= 2)
    assert set(run(controller, {2: (1e-3, 2e-3), 4: (0.1, 0.1)}, 5.0)) == {2}
    taken = False
    assert run(controller, {2: (1e-3, 2e-3), 4: (0.6e-3, 2.4e-3)}, 1.0)[-1] == 4


CONTEXT = Context((2, 1), lambda threads: True, POLICY)
FRESH = History({}, Backoff(0.0, 0.1), Backoff(0.0, 0.5))
USUAL = History({0: 1e-3}, Backoff(0.0, 0.1), Backoff(0.0, 0.5))
UNDISTURBED = Window([1e-3] * 20, [2e-3] * 20, 0.02)
# Two threads that together had a core for 1.2 ms of each ms.
LACKING = Window([1e-3] * 20, [1.2e-3] * 20, 0.02)


@pytest.mark.parametrize(
    ("state", "window", "after", "unwatched_secs"),
    [
        pytest.param(
            Steady(0, 1.0, USUAL),
            Window([5e-3, 0.03], [6e-3, 0.03], 0.035),
            Steady(0, 1.0, USUAL, (0.03,)),
            0.0,
            id="one overloaded step is remembered",
        ),
        pytest.param(
            Steady(0, 1.0, USUAL, (0.03,)),
            Window([0.03, 0.03], [0.03, 0.03], 0.06),
            Probing(1, 1.06, USUAL, 0, 0.03),
            0.0,
            id="the second one starts a probe of fewer",
        ),
        pytest.param(
            Steady(0, 1.0, USUAL, (0.03,)),
            Window([0.03, 1e-3], [0.03, 2e-3], 0.031),
            Steady(0, 1.0, USUAL),
            0.002,
            id="an undisturbed step forgets it",
        ),
        pytest.param(
            Steady(0, 1.0, FRESH),
            LACKING,
            Probing(1, 1.02, replace(FRESH, usual={0: 1e-3}), 0, 1e-3),
            0.0,
            id="threads that lack CPU time start a probe of fewer",
        ),
        pytest.param(
            Steady(0, 1.0, replace(USUAL, fewer=Backoff(1.03, 0.2))),
            LACKING,
            Steady(0, 1.02, replace(USUAL, fewer=Backoff(1.03, 0.2))),
            0.002,
            id="not while fewer is backed off",
        ),
        pytest.param(
            Steady(1, 1.0, USUAL),
            Window([2e-3] * 10, [2e-3] * 10, 0.02),
            Probing(0, 1.02, replace(USUAL, usual={0: 1e-3, 1: 2e-3}), 1, 2e-3),
            0.0,
            id="free cores start a probe of more",
        ),
        pytest.param(
            Steady(0, 1.0, FRESH),
            UNDISTURBED,
            Steady(0, 1.02, replace(FRESH, usual={0: 1e-3})),
            0.002,
            id="undisturbed threads are kept",
        ),
        pytest.param(
            Probing(1, 1.0, USUAL, 0, 3e-3),
            Window([2e-3] * 10, [2e-3] * 10, 0.02),
            Steady(1, 1.02, replace(USUAL, more=Backoff(1.52, 0.5))),
            0.0,
            id="fewer threads are kept if they are faster",
        ),
        pytest.param(
            Probing(0, 1.0, replace(USUAL, fewer=Backoff(9.0, 0.4)), 1, 2e-3),
            UNDISTURBED,
            Steady(0, 1.02, replace(USUAL, fewer=Backoff(1.02, 0.4))),
            0.002,
            id="more threads are kept if they are faster",
        ),
        pytest.param(
            Probing(1, 1.0, USUAL, 0, 1e-3),
            Window([2e-3] * 10, [2e-3] * 10, 0.02),
            Steady(0, 1.02, replace(USUAL, fewer=Backoff(1.12, 0.2))),
            0.002,
            id="fewer threads that are slower are backed off",
        ),
        pytest.param(
            Probing(0, 1.0, replace(USUAL, more=Backoff(0.0, 8.0)), 1, 1e-3),
            Window([0.03], [0.03], 0.03),
            Steady(1, 1.03, replace(USUAL, more=Backoff(9.03, 8.0))),
            0.0,
            id="one hopeless step ends a probe, and the longest back-off stays",
        ),
        pytest.param(
            Probing(1, 1.0, USUAL, 0, 1e-3),
            Window([1.2e-3] * 2, [1.2e-3] * 2, 0.0024),
            Probing(1, 1.0, USUAL, 0, 1e-3),
            0.0,
            id="a probe waits for a whole window",
        ),
    ],
)
def test_each_transition(state: State, window: Window, after: State, unwatched_secs: float) -> None:
    found, secs = observe(state, window, CONTEXT)
    assert (_rounded(found), secs) == (_rounded(after), unwatched_secs)


def _rounded(value: Any) -> Any:
    """The same state with its numbers to 9 digits."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    if is_dataclass(value):
        return type(value)(*(_rounded(getattr(value, f.name)) for f in fields(value)))
    return value


def test_more_threads_are_not_probed_without_cores() -> None:
    context = CONTEXT._replace(available=lambda threads: False)
    assert start(context).place == 1
    found, _ = observe(Steady(1, 1.0, FRESH), Window([2e-3] * 10, [2e-3] * 10, 0.02), context)
    assert isinstance(found, Steady)
    assert found.place == 1


@pytest.mark.parametrize(("free", "threads"), [(8, 8), (7, 4), (2, 2), (1, 1), (0, 1)])
def test_chunks_of_a_prompt_take_as_many_threads_as_there_are_cores(
    free: int, threads: int
) -> None:
    controller = ThreadController(8, available=lambda wanted: wanted <= free)
    assert controller.threads_with_cores() == threads
