"""Speed over minutes, of a model that gets slower."""

from __future__ import annotations

import math

import pytest

from tests.runtime.test_bench import Fake
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.bench import WARMUP_TOKENS
from tvm_c4n.runtime.sustained import check_minutes, measure_sustained


class Throttling(Fake):
    """A model whose steps take longer from a second of the measurement on."""

    def __init__(self, from_secs: float = math.inf, stops_after: float = math.inf) -> None:
        super().__init__("warm", [])
        self.now, self.texts, self.steps = 100.0, 0, 0
        # Warming up is not measured.
        began = 100 + WARMUP_TOKENS * 0.1
        self._slow_from, self._stops = began + from_secs, began + stops_after

    def reset(self) -> None:
        self.texts += 1

    def step(self, token: int) -> None:
        if self.now >= self._stops:
            raise KeyboardInterrupt
        self.now += 0.2 if self.now >= self._slow_from else 0.1
        self.steps += 1

    def clock(self) -> float:
        return self.now


def test_the_first_and_the_last_windows_are_compared() -> None:
    model = Throttling(from_secs=60)
    found = measure_sustained(model, 2, 2.0, clock=model.clock)
    assert found.window_secs == 6
    assert len(found.rates) == 20
    assert found.compared == 2
    assert (found.first, found.last) == (pytest.approx(10), pytest.approx(5))
    assert found.kept == pytest.approx(0.5)
    assert found.complete
    assert model.now - 100 == pytest.approx(120, abs=6)
    assert found.as_json()["windows_ts"] == found.rates


def test_short_measurements_have_few_windows_and_long_ones_many() -> None:
    for minutes, windows in ((0.02, 2), (0.001, 1), (60, 120)):
        model = Throttling()
        found = measure_sustained(model, 1, minutes, clock=model.clock)
        assert len(found.rates) == windows
        assert found.complete


def test_a_text_that_is_full_begins_anew() -> None:
    model = Throttling()
    measure_sustained(model, 1, 10.0, clock=model.clock)
    assert model.texts == 1 + math.ceil((model.steps - WARMUP_TOKENS) / 1024) == 7


def test_ctrl_c_ends_it_with_what_there_is() -> None:
    model = Throttling(stops_after=21)
    found = measure_sustained(model, 1, 2.0, clock=model.clock)
    assert len(found.rates) == 3
    assert not found.complete
    with pytest.raises(KeyboardInterrupt):
        model = Throttling(stops_after=1)
        measure_sustained(model, 1, 2.0, clock=model.clock)


@pytest.mark.parametrize("minutes", [0, -1, 1441, math.nan, math.inf])
def test_minutes_are_some_and_at_most_a_day(minutes: float) -> None:
    with pytest.raises(C4nError, match=r"^--sustained .*: use minutes above 0, at most 1440$"):
        check_minutes(minutes)
