"""A device with made-up times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.tasks import decision_key

Timed = tuple[OpSpec, dict[str, int]]
# Seconds of a candidate that was timed so often before; None: it does not run.
Seconds = Callable[[OpSpec, Mapping[str, int], int], float | None]


class FakeDevice:
    """What a `Measurer` does, without building or running anything.

    Attributes
    ----------
    log : list of (OpSpec, dict)
        What was timed, in order.
    restarts : list of int
        The length of the log whenever the workers were restarted.
    """

    def __init__(self, seconds: Seconds) -> None:
        self.target = resolve_target("host")
        self.log: list[Timed] = []
        self.restarts: list[int] = []
        self._seconds, self._before = seconds, Counter[Any]()

    def measure(self, spec: OpSpec, batch: Sequence[Mapping[str, int]]) -> list[Any]:
        return [self.time_again((spec, dict(decisions))) for decisions in batch]

    @contextmanager
    def built(self, spec: OpSpec, batch: Sequence[Mapping[str, int]]) -> Iterator[list[Timed]]:
        yield [(spec, dict(decisions)) for decisions in batch]

    def build(self, kernel: Kernel, _library: Path, _most_bytes: int | None = None) -> Timed:
        return kernel.spec, {}

    def time_again(self, one: Timed) -> Any:
        spec, decisions = one
        key = (spec, decision_key(decisions))
        seconds = self._seconds(spec, decisions, self._before[key])
        self._before[key] += 1
        self.log.append(one)
        error = None if seconds else "Traceback\nunplugged"
        return ms.runner.RunnerResult([seconds] if seconds else None, error)

    def restart_workers(self) -> None:
        self.restarts.append(len(self.log))
