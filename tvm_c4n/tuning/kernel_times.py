"""Times the kernels of a latency table, and notes what other programs took meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.pruning.allocation.latency import Seconds
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.runtime.contention import CpuContention, secs_with_workers
from tvm_c4n.tuning.measurer import Measurer, error_line

T = TypeVar("T")


class Watch:
    """Calls what measures, and notes the cores that other programs take meanwhile.

    Parameters
    ----------
    local : bool
        The device is this machine.
    cores : float, optional
        What was noted before.

    Attributes
    ----------
    cores : float or None
        At most, of all calls; None: nothing is known of the device.
    """

    def __init__(self, local: bool, cores: float | None = None) -> None:
        self.cores = (cores or 0.0) if local else None
        self._local = local

    def __call__(self, measure: Callable[[], T]) -> T:
        """Return what ``measure`` returns."""
        with CpuContention(secs_with_workers) as others:
            result = measure()
        if self._local:
            self.cores = max(self.cores or 0.0, others.cores)
        return result


@dataclass(frozen=True)
class KernelTimer:
    """Builds kernels, then times them.

    Attributes
    ----------
    measurer : Measurer
    records : Path, optional
        Folder of `tvm_c4n.tune`: kernels are then those that `compile_model` takes with it.
    rounds : int
        How often each kernel is timed, all of them in each round.
    step : StepCounter
        Counts a step for each kernel that is built, and each time that it is timed.
    watch : Watch
    """

    measurer: Measurer
    records: Path | None
    rounds: int
    step: StepCounter
    watch: Watch

    def times(self, wanted: Mapping[OpSpec, int]) -> dict[OpSpec, Seconds]:
        """Time kernels.

        Parameters
        ----------
        wanted : mapping of OpSpec to int
            Bytes of weights that a kernel cycles through, at most.

        Raises
        ------
        DeviceError
            A kernel does not run on the device.
        """
        select = selector(self.measurer.target, self.records)
        with tempfile.TemporaryDirectory(prefix="tvm-c4n-latency.") as folder:
            built = {}
            for index, (spec, most_bytes) in enumerate(wanted.items()):
                self.step(f"building {spec.kind}")
                answer = select(spec)
                if answer is None:
                    raise TuneError(f"no rule for {spec}: compile for a target with a rule")
                library = Path(folder, f"{index}.so")
                built[spec] = self.measurer.build(answer[1], library, most_bytes)
            samples: dict[OpSpec, list[float]] = {spec: [] for spec in wanted}

            def time_round() -> None:
                for spec, one in built.items():
                    self.step(f"measuring {spec.kind}")
                    result = self.measurer.time_again(one)
                    if not result.run_secs:
                        raise DeviceError(
                            f"{spec.kind} did not run on the device: {error_line(result)}"
                        )
                    samples[spec] += [float(secs) for secs in result.run_secs]

            for _ in range(self.rounds):
                self.watch(time_round)
        return {spec: seconds_of(found) for spec, found in samples.items()}


def seconds_of(samples: list[float]) -> Seconds:
    """Return least, median and largest."""
    return Seconds(min=min(samples), median=median(samples), max=max(samples))
