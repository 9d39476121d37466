"""Builds candidates of an operator, and has a runner time them."""

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
from tvm_c4n.compile.kernel_selection import KernelSelector
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel
from tvm_c4n.tuning.harness import build_harness
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.runners import kill_workers, runs_here


@dataclass(frozen=True)
class Built:
    """A candidate's library, ready to be timed any number of times.

    Attributes
    ----------
    runner_input : tvm.s_tir.meta_schedule.runner.RunnerInput
    repeats : int
        How often one call of the library's ``main`` runs the kernel.
    """

    runner_input: Any
    repeats: int


@dataclass(frozen=True)
class Measurer:
    """Times candidates on a device.

    Attributes
    ----------
    target : tvm.target.Target
    runner : tvm.s_tir.meta_schedule.runner.Runner
    cold_bytes : int
        Bytes of weights that a one-token kernel cycles through.
    wait_secs : float
        What takes longer counts as failed: the device is gone.
    """

    target: Target
    runner: Any
    cold_bytes: int
    wait_secs: float

    def measure(self, spec: OpSpec, batch: Sequence[Decisions]) -> list[Any]:
        """Build and time candidates, each once.

        A remote device times the first ones while the others are built. This machine does not: what
        the compiler takes of its cores would count as the candidate's time.

        Returns
        -------
        list of tvm.s_tir.meta_schedule.runner.RunnerResult
            Seconds of one run of the kernel for each sample, or an error.
        """
        with tempfile.TemporaryDirectory(prefix="tvm-c4n-tune.") as folder:
            built, futures = [], []
            for index, decisions in enumerate(batch):
                built.append(self._candidate(spec, decisions, Path(folder, f"{index}.so")))
                if not runs_here(self.runner):
                    futures += self.runner.run([built[-1].runner_input])
            if runs_here(self.runner):
                futures = self.runner.run([one.runner_input for one in built])
            return self._results(futures, built)

    @contextmanager
    def built(self, spec: OpSpec, batch: Sequence[Decisions]) -> Iterator[list[Built]]:
        """Build candidates that are to be timed more than once."""
        with tempfile.TemporaryDirectory(prefix="tvm-c4n-tune.") as folder:
            yield [
                self._candidate(spec, decisions, Path(folder, f"{index}.so"))
                for index, decisions in enumerate(batch)
            ]

    def build(self, kernel: Kernel, library: Path, most_bytes: int | None = None) -> Built:
        """Build the library that times a kernel, with `most_bytes` to cycle through.

        Without them a kernel for prompts has one copy of its tensors, and another one of its
        weights as many as the measurer has bytes for.
        """
        if most_bytes is None:
            most_bytes = 0 if kernel.spec.dynamic else self.cold_bytes
        cold_bytes = min(self.cold_bytes, most_bytes)
        harness = build_harness(kernel, cold_bytes)
        return Built(harness.compile(self.target, library), harness.repeats)

    def time_again(self, one: Built) -> Any:
        """Time what was built, by itself; returns a RunnerResult as `measure` does."""
        return self._results(self.runner.run([one.runner_input]), [one])[0]

    def restart_workers(self) -> None:
        """Have what is timed next on this machine run in a new process."""
        if runs_here(self.runner):
            kill_workers(self.runner)

    def _candidate(self, spec: OpSpec, decisions: Decisions, library: Path) -> Built:
        return self.build(kernel_of(self.target, spec, decisions), library)

    def _results(self, futures: Sequence[Any], built: Sequence[Built]) -> list[Any]:
        end = time.monotonic() + self.wait_secs
        while not all(future.done() for future in futures) and time.monotonic() < end:
            time.sleep(0.01)
        results = [_result(f, one.repeats) for f, one in zip(futures, built, strict=True)]
        if not all(future.done() for future in futures):
            kill_workers(self.runner)
        return results


def kernel_of(target: Target, spec: OpSpec, decisions: Decisions) -> Kernel:
    """Return the kernel that an operator gets with these decisions."""
    select = KernelSelector(target, isa_of(target), lambda _: decisions)
    answer = select(spec)
    assert answer is not None  # noqa: S101 - a rule made the space of the decisions
    return answer[1]


def error_line(result: Any) -> str:
    """Return the last line of a result's error."""
    return str(result.error_msg).strip().split("\n")[-1]


def _result(future: Any, repeats: int) -> Any:
    """Return a future's result for one run of the kernel."""
    if not future.done():
        return ms.runner.RunnerResult(None, error_msg="the device does not answer")
    result = future.result()
    if not result.run_secs:
        return result
    return ms.runner.RunnerResult([float(s) / repeats for s in result.run_secs], None)
