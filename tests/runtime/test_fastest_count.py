"""The count of threads that nobody gave."""

from __future__ import annotations

import pytest

from tvm_c4n.runtime.fastest_count import STEPS, fastest_count


@pytest.mark.parametrize(
    ("secs", "expected"), [({1: 3.0, 4: 1.0, 8: 1.2}, 4), ({1: 1.0, 4: 1.0, 8: 2.0}, 1)]
)
def test_the_fastest_wins_whatever_a_first_step_or_one_hiccup_takes(
    secs: dict[int, float], expected: int
) -> None:
    time, taken = 0.0, []

    def step(count: int) -> None:
        nonlocal time
        taken.append(count)
        slow = taken.count(count) in (1, 3)
        time += 50.0 if slow and count == expected else secs[count]

    assert fastest_count(list(secs), step, lambda: time) == expected
    assert taken == [count for count in secs for _ in range(STEPS + 1)]
