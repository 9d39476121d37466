"""Timing through a runner: seconds of one run, and devices that do not answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.spec import ConvSpec

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.harness import WEIGHTLESS_REPEATS
from tvm_c4n.tuning.measurer import Measurer, error_line
from tvm_c4n.tuning.metaschedule import ms

SPEC = ConvSpec(False, 64, 4, 2, 128)
DECISIONS = {"vectors": 1}


class Runner:
    """Returns the same for every candidate, or nothing at all."""

    def __init__(self, result: Any) -> None:
        self.libraries: list[Path] = []
        self._result = result

    def run(self, inputs: list[Any]) -> list[Any]:
        self.libraries += [Path(str(one.artifact_path)) for one in inputs]
        assert all(library.is_file() for library in self.libraries[-len(inputs) :])
        done = self._result is not None
        return [SimpleNamespace(done=lambda: done, result=lambda: self._result)] * len(inputs)


def measurer_of(result: Any, wait_secs: float = 60) -> Measurer:
    return Measurer(resolve_target("host"), Runner(result), 0, wait_secs)


def test_seconds_are_those_of_one_run_of_the_kernel() -> None:
    seconds = [3.0 * WEIGHTLESS_REPEATS, 1.0 * WEIGHTLESS_REPEATS]
    measurer = measurer_of(ms.runner.RunnerResult(seconds, None))
    (found,) = measurer.measure(SPEC, [DECISIONS])
    assert [float(s) for s in found.run_secs] == [3.0, 1.0]
    assert not measurer.runner.libraries[0].exists()  # it went with its folder
    with measurer.built(SPEC, [DECISIONS]) as (one,):
        for _ in range(2):
            assert [float(s) for s in measurer.time_again(one).run_secs] == [3.0, 1.0]


def test_an_error_is_kept() -> None:
    measurer = measurer_of(ms.runner.RunnerResult(None, "Traceback\n  line\nunplugged\n"))
    (found,) = measurer.measure(SPEC, [DECISIONS])
    assert error_line(found) == "unplugged"


def test_a_device_that_does_not_answer_fails_its_candidates() -> None:
    found = measurer_of(None, wait_secs=0.1).measure(SPEC, [DECISIONS])
    assert [error_line(one) for one in found] == ["the device does not answer"]
