"""Only repetitions count in which every thread had a core."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate import undisturbed
from tvm_c4n.evaluate.undisturbed import WARM_UPS, repeat


class FakeClocks:
    """A wall clock, and the CPU time of a process whose steps take 1 ms with some cores each."""

    def __init__(self) -> None:
        self.secs = self.cpu_secs = 100.0

    def step(self, cores: list[float]) -> Callable[[], float]:
        """Return a step that has the next one of these numbers of cores; the last one for ever."""

        def run() -> float:
            had = cores.pop(0) if len(cores) > 1 else cores[0]
            self.secs += 1e-3
            self.cpu_secs += had * 1e-3
            return had

        return run


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> FakeClocks:
    fake = FakeClocks()
    monkeypatch.setattr(undisturbed, "perf_counter", lambda: fake.secs)
    monkeypatch.setattr(undisturbed, "process_time", lambda: fake.cpu_secs)
    return fake


def test_warm_ups_are_left_out(clocks: FakeClocks) -> None:
    assert repeat(clocks.step([1.9] * WARM_UPS + [2.0, 1.8, 1.75]), 3, 2) == [2.0, 1.8, 1.75]


def test_two_threads_on_one_core_are_not_counted(clocks: FakeClocks) -> None:
    """They look undisturbed to a clock: each step takes as long as the others."""
    cores = [2.0] * WARM_UPS + [1.0, 2.0, 1.0, 1.69, 1.71]
    assert repeat(clocks.step(cores), 2, 2) == [2.0, 1.71]
    assert repeat(clocks.step([0.99]), 2, 1) == [0.99, 0.99]


def test_a_system_that_keeps_threads_on_one_core_is_refused(clocks: FakeClocks) -> None:
    steps = clocks.step([1.0] * WARM_UPS + [1.8] * 5 + [1.02])
    with pytest.raises(C4nError) as refused:
        repeat(steps, 20, 2, limit_secs=0.5)
    assert "2 threads had 1.80 cores at best, and 1.70 in 5 of 20 repetitions within 0.5 s" in str(
        refused.value
    )
    assert clocks.secs < 100.6


def test_the_last_result_may_come_late(clocks: FakeClocks) -> None:
    assert repeat(clocks.step([2.0]), 1, 2, limit_secs=0.0001 + 1e-3 * WARM_UPS) == [2.0]
