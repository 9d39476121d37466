"""Builds candidates of an operator, and has a runner measure them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schedules.base import Decisions
from tvm_c4n._tvm import Target
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel
from tvm_c4n.tuning.device import kill_workers, measures_here
from tvm_c4n.tuning.measure import args_info, compile_measured, measured
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.space import rule_kernel


@dataclass(frozen=True)
class Built:
    """A candidate's library, as a runner takes it."""

    wanted: Any
    copies: int
    """Times that the library's ``main`` runs the kernel."""


@dataclass(frozen=True)
class Meter:
    """Measures candidates on a device.

    Attributes
    ----------
    target : tvm.target.Target
    runner : tvm.s_tir.meta_schedule.runner.Runner
    cold_bytes : int
        Weights that a one-token kernel goes round.
    wait_secs : float
        What takes longer counts as failed: the device is gone.
    """

    target: Target
    runner: Any
    cold_bytes: int
    wait_secs: float

    def measure(self, spec: OpSpec, chosen: Sequence[Decisions]) -> list[Any]:
        """Build and run candidates; those that fail have a result with an error.

        A device measures the first ones while the others are built. This machine does not: what
        the compiler takes of its cores would count as the candidate's time.
        """
        with tempfile.TemporaryDirectory(prefix="tvm-c4n-tune.") as folder:
            built, futures = [], []
            for index, decided in enumerate(chosen):
                built.append(self._candidate(spec, decided, Path(folder, f"candidate{index}.so")))
                if not measures_here(self.runner):
                    futures += self.runner.run([built[-1].wanted])
            if measures_here(self.runner):
                futures = self.runner.run([one.wanted for one in built])
            return self._results(futures, built)

    @contextmanager
    def built(self, spec: OpSpec, chosen: Sequence[Decisions]) -> Iterator[list[Built]]:
        """Build candidates that are to be measured more than once."""
        with tempfile.TemporaryDirectory(prefix="tvm-c4n-tune.") as folder:
            yield [
                self._candidate(spec, decided, Path(folder, f"candidate{index}.so"))
                for index, decided in enumerate(chosen)
            ]

    def again(self, one: Built) -> Any:
        """Measure what was built, by itself."""
        return self._results(self.runner.run([one.wanted]), [one])[0]

    def renew(self) -> None:
        """Have what is measured next on this machine run in a new process."""
        if measures_here(self.runner):
            kill_workers(self.runner)

    def build(self, kernel: Kernel, library: Path) -> Built:
        """Build a kernel to be measured."""
        mod, arguments, copies = measured(kernel, self.cold_bytes)
        compile_measured(mod, self.target, library)
        return Built(ms.runner.RunnerInput(str(library), "cpu", args_info(arguments)), copies)

    def _candidate(self, spec: OpSpec, decided: Decisions, library: Path) -> Built:
        kernel = rule_kernel(spec, isa_of(self.target), decided)
        return self.build(kernel, library)

    def _results(self, futures: Sequence[Any], built: Sequence[Built]) -> list[Any]:
        end = time.monotonic() + self.wait_secs
        while not all(future.done() for future in futures) and time.monotonic() < end:
            time.sleep(0.01)
        results = [_result(f, one.copies) for f, one in zip(futures, built, strict=True)]
        if not all(future.done() for future in futures):
            kill_workers(self.runner)
        return results


def last_line(result: Any) -> str:
    """Return the end of a result's error."""
    return str(result.error_msg).strip().split("\n")[-1]


def _result(future: Any, copies: int) -> Any:
    """Return a future's result for one run of the kernel."""
    if not future.done():
        return ms.runner.RunnerResult(None, error_msg="the device does not answer")
    result = future.result()
    if not result.run_secs:
        return result
    return ms.runner.RunnerResult([float(s) / copies for s in result.run_secs], None)
