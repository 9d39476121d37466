"""The count of threads follows what others leave of the machine."""

from __future__ import annotations

import pytest

from tvm_c4n.runtime.pace import MOST_PATIENCE, PATIENCE_FEWER, PATIENCE_MORE, TRIAL, Pace

ALONE = {1: (1.8, 1.8), 2: (1.0, 2.0)}
"""By count of threads: seconds of a step, and those that the threads had cores."""
BESIDE = {1: (1.8, 1.8), 2: (4.0, 5.3)}
"""The same while another program keeps a core busy: three threads share two cores."""


def run(pace: Pace, machine: dict[int, tuple[float, float]], steps: int) -> list[int]:
    """Take steps; returns the threads of each."""
    counts = []
    for _ in range(steps):
        counts.append(pace.threads)
        pace.note(*machine[pace.threads])
    return counts


def test_undisturbed_steps_take_all_threads() -> None:
    assert set(run(Pace(2), ALONE, 500)) == {2}


def test_one_thread_is_taken_while_a_core_is_busy() -> None:
    counts = run(Pace(2), BESIDE, 400)
    assert counts[:2] == [2, 1]
    secs = sum(BESIDE[count][0] for count in counts)
    assert secs < 1.2 * 400 * BESIDE[1][0]


def test_all_threads_come_back_when_the_core_is_free() -> None:
    pace = Pace(2)
    run(pace, BESIDE, 4 * PATIENCE_MORE)
    counts = run(pace, ALONE, 16 * PATIENCE_MORE)
    assert counts[-PATIENCE_MORE:] == [2] * PATIENCE_MORE


def test_two_short_steps_that_wait_are_enough() -> None:
    assert run(Pace(2), {1: (1.8e-3, 1.8e-3), 2: (4e-3, 4e-3)}, 4) == [2, 2, 1, 1]


def test_a_thread_that_wakes_up_is_waited_for() -> None:
    """Steps of a small model take less time than a thread needs that slept since the last text."""
    woken, awake = {2: (350e-6, 550e-6)}, {1: (300e-6, 300e-6), 2: (200e-6, 400e-6)}
    pace = Pace(2)
    run(pace, woken, 1)
    assert set(run(pace, awake, 200)) == {2}


def test_a_hopeless_trial_ends_after_one_step() -> None:
    counts = run(Pace(2), BESIDE, 1 + TRIAL + PATIENCE_MORE + 2 * TRIAL)
    assert counts[1 + TRIAL :].count(2) == 1


def test_a_core_that_is_lost_soon_after_it_came_back_costs_one_step() -> None:
    pace = Pace(2)
    run(pace, BESIDE, 2 * PATIENCE_MORE)
    while run(pace, ALONE, 1) != [2] or run(pace, ALONE, TRIAL) != [2] * TRIAL:
        pass
    assert run(pace, BESIDE, TRIAL + 1)[-1] == 1


def test_a_step_far_slower_than_usual_is_not_waited_for() -> None:
    """Not even soon after a trial in vain: it can take half a second. One alone is a hiccup."""
    pace = Pace(2)
    run(pace, ALONE, 10)
    run(pace, {1: (9.0, 9.0), 2: (1.3, 2.0)}, 2 * TRIAL)  # fewer threads were tried, in vain
    assert pace.threads == 2
    swamped = {1: (1.8, 1.8), 2: (40.0, 60.0)}
    assert set(run(pace, swamped, 1) + run(pace, ALONE, 50)) == {2}
    assert run(pace, swamped, 8)[2:] == [1] * 6


def test_trials_in_vain_become_rare() -> None:
    """Neither count is better for long: a slow machine is not made slower by trying."""
    slow = {1: (9.0, 9.0), 2: (4.0, 5.3)}
    counts = run(Pace(2), slow, 8 * MOST_PATIENCE)
    assert counts[-1] == 2
    assert counts[-2 * MOST_PATIENCE :].count(1) <= 2 * TRIAL


@pytest.mark.parametrize("most", [3, 8])
def test_counts_are_halved_down_to_one(most: int) -> None:
    fewest_best = {count: (float(count), 0.5 * count * count) for count in range(1, 9)}
    assert run(Pace(most), fewest_best, 8 * PATIENCE_FEWER)[-1] == 1


def test_one_thread_needs_no_choice() -> None:
    assert set(run(Pace(1), {1: (1.0, 0.1)}, 50)) == {1}
