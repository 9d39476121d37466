"""The count of threads follows what others leave of the machine."""

from __future__ import annotations

import pytest

from tvm_c4n.runtime.thread_controller import ThreadController
from tvm_c4n.runtime.thread_policy import POLICY

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


@pytest.mark.parametrize(("free", "threads"), [(8, 8), (7, 4), (2, 2), (1, 1), (0, 1)])
def test_chunks_of_a_prompt_take_as_many_threads_as_there_are_cores(
    free: int, threads: int
) -> None:
    controller = ThreadController(8, available=lambda wanted: wanted <= free)
    assert controller.threads_with_cores() == threads
