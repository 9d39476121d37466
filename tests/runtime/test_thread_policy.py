"""The count of threads follows what others leave of the machine."""

from __future__ import annotations

import pytest

from tvm_c4n.runtime.thread_policy import MOST_PATIENCE, PATIENCE_MORE, PERIOD, TRIAL, ThreadPolicy

Machine = dict[int, tuple[float, float]]
"""By count of threads: seconds of a step, and those that the threads had cores."""

ALONE: Machine = {1: (1.8e-3, 1.8e-3), 2: (1e-3, 2e-3)}
BESIDE: Machine = {1: (1.8e-3, 1.8e-3), 2: (4e-3, 5.3e-3)}
"""The same while another program keeps a core busy: three threads share two cores."""


def free(most: int) -> ThreadPolicy:
    """Where the system says nothing of others: only the steps' times show them."""
    return ThreadPolicy(most, lambda threads: True)


def run(policy: ThreadPolicy, machine: Machine, secs: float) -> list[int]:
    """Take steps for some seconds; returns the threads of each."""
    counts, unwatched = [], 0.0
    while secs > 0:
        counts.append(policy.threads)
        taken = machine[policy.threads]
        if unwatched <= 0:
            unwatched = policy.observe(*taken)
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
    assert took([c for c in counts[:50] if c == 2], BESIDE) < 2 * PERIOD
    assert took(counts, BESIDE) < 1.2 * len(counts) * BESIDE[1][0]


def test_all_threads_come_back_when_the_core_is_free() -> None:
    policy = free(2)
    run(policy, BESIDE, 4 * PATIENCE_MORE)
    assert set(run(policy, ALONE, 20 * PATIENCE_MORE)[-1000:]) == {2}


def test_one_long_first_step_is_enough() -> None:
    swamped: Machine = {1: (1.8e-3, 1.8e-3), 2: (0.1, 4e-3)}
    assert run(free(2), swamped, 0.15)[:2] == [2, 1]


@pytest.mark.parametrize("step", [0.2e-3, 4e-3, 20e-3])
def test_a_thread_that_wakes_up_is_waited_for(step: float) -> None:
    """Two threads share a core for 10 ms, until the system moves one of them."""
    awake: Machine = {1: (1.6 * step, 1.6 * step), 2: (step, 2 * step)}
    policy, together, unwatched = free(2), 0.01, 0.0
    while together > 0:
        shared = min(together, 2 * step)
        secs = step + shared / 2
        assert policy.threads == 2
        unwatched -= secs
        if unwatched <= 0:
            unwatched = policy.observe(secs, 2 * secs - shared)
        together -= shared
    assert set(run(policy, awake, 2.0)) == {2}


def test_a_trial_of_more_threads_waits_for_them_to_wake_up() -> None:
    policy, woken = free(2), {1: (1.8e-3, 1.8e-3), 2: (3e-3, 3e-3)}
    run(policy, BESIDE, PERIOD + PATIENCE_MORE / 2)
    assert policy.threads == 1
    while policy.threads == 1:
        run(policy, ALONE, 1e-3)
    run(policy, woken, 0.01)
    assert set(run(policy, ALONE, 1.0)) == {2}


def test_a_hopeless_trial_ends_early() -> None:
    crawling: Machine = {1: (1.8e-3, 1.8e-3), 2: (PERIOD, PERIOD)}
    counts = run(free(2), crawling, 2 * PATIENCE_MORE)
    assert counts[TRIAL:].count(2) == 1


def test_steps_far_slower_than_usual_are_not_waited_for() -> None:
    """Not even soon after a trial in vain. One alone is a hiccup."""
    policy = free(2)
    run(policy, ALONE, 0.1)
    run(policy, {1: (9e-3, 9e-3), 2: (1.3e-3, 2e-3)}, 0.1)  # fewer threads were tried, in vain
    assert policy.threads == 2
    swamped: Machine = {1: (1.8e-3, 1.8e-3), 2: (0.04, 0.05)}
    assert set(run(policy, swamped, 0.03) + run(policy, ALONE, 0.05)) == {2}
    assert run(policy, swamped, 0.1)[:3] == [2, 2, 1]


def test_trials_in_vain_become_rare() -> None:
    """Neither count is better for long: a slow machine is not made slower by trying."""
    slow: Machine = {1: (9e-3, 9e-3), 2: (4e-3, 5.3e-3)}
    policy = free(2)
    run(policy, slow, 4 * MOST_PATIENCE)
    assert run(policy, slow, 2 * MOST_PATIENCE).count(1) <= 2 * (TRIAL + 1)


@pytest.mark.parametrize("most", [3, 8])
def test_counts_are_halved_down_to_one(most: int) -> None:
    fewest_best = {n: (n * 1e-3, 0.5e-3 * n * n) for n in range(1, 9)}
    assert run(free(most), fewest_best, 0.5)[-1] == 1


def test_one_thread_needs_no_choice() -> None:
    assert set(run(free(1), {1: (1e-3, 1e-4)}, 0.05)) == {1}


def test_what_the_system_says_spares_the_trials() -> None:
    taken = True
    policy = ThreadPolicy(4, lambda threads: not taken or threads <= 2)
    assert set(run(policy, {2: (1e-3, 2e-3), 4: (0.1, 0.1)}, 5.0)) == {2}
    taken = False
    assert run(policy, {2: (1e-3, 2e-3), 4: (0.6e-3, 2.4e-3)}, 1.0)[-1] == 4
