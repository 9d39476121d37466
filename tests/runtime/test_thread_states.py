"""Every row of the table of states, as a pure function."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from tvm_c4n.runtime.thread_policy import POLICY
from tvm_c4n.runtime.thread_states import (
    Backoff,
    Context,
    History,
    Probing,
    State,
    Steady,
    Window,
    observe,
    start,
)

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
