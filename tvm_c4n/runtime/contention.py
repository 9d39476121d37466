"""Whether other programs leave cores free, and how many they took, as Linux reports it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from tvm_c4n.errors import C4nError

# Cores of other programs from which what was timed counts as disturbed; an idle system takes less.
BUSY_CORES = 0.2
# Cores must be taken at each of this many readings: most programs that run are brief.
READINGS = 3

_PROC = Path("/proc")
_LOAD, _TASKS, _STAT = (_PROC / name for name in ("loadavg", "self/task", "stat"))


def check_threads(threads: int) -> None:
    """Check that this machine has a core for each of so many threads.

    Raises
    ------
    C4nError
        Fewer than one, or more than there are cores.
    """
    cores = os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise C4nError(f"threads is {threads}; this machine takes 1 to {cores}")


def cores_available(threads: int) -> bool:
    """Return whether this many threads of this process would have a core each, right now.

    Where the system does not say, they are taken to have one.
    """
    cores = os.cpu_count() or 1
    return any(threads + _running_elsewhere() <= cores for _ in range(READINGS))


def _running_elsewhere() -> int:
    """Count threads of other processes that run or wait for a core."""
    try:
        everywhere = int(_LOAD.read_text().split()[3].split("/")[0])
        own = sum(_runs(task) for task in _TASKS.iterdir())
    except (OSError, ValueError, IndexError):
        return 0
    return max(0, everywhere - own)


def _runs(task: Path) -> bool:
    """Return whether a thread of this process runs or waits for a core; an ended one does not."""
    try:
        return (task / "stat").read_text().rsplit(")", 1)[-1].split()[0] == "R"
    except OSError:
        return False


def busy_secs() -> float:
    """Return the CPU seconds that all processes, and the hypervisor, have taken since boot.

    Where the system does not say, 0.
    """
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_secs() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def secs_with_workers() -> float:
    """Return the CPU seconds of this process and of all that it started and that still run."""
    parents: dict[int, int] = {}
    secs: dict[int, float] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[-1].split()
        except OSError:  # it has ended
            continue
        number = int(stat.parent.name)
        parents[number] = int(fields[1])
        # utime and stime, and those of children that it has waited for.
        secs[number] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own_secs() + sum(secs[number] for number in parents if _is_below(number, parents))


def _is_below(number: int, parents: dict[int, int]) -> bool:
    """Return whether a process is a child of this one, or of one of its children."""
    above = parents.get(number)
    while above in parents and above != os.getpid():
        above = parents[above]
    return above == os.getpid()


class CpuContention:
    """Context manager: the cores that other processes took within its block, in `cores`.

    Parameters
    ----------
    own : callable
        CPU seconds that are not others'.
    """

    cores = 0.0

    def __init__(self, own: Callable[[], float] | None = None) -> None:
        self._own = own_secs if own is None else own

    def __enter__(self) -> CpuContention:
        self._began = time.monotonic(), busy_secs(), self._own()
        return self

    def __exit__(self, *_error: object) -> None:
        wall, busy, own = self._began
        taken = busy_secs() - busy - (self._own() - own)
        # Both clocks tick a hundred times a second: short blocks are known to a few per cent only.
        self.cores = round(max(0.0, taken) / max(time.monotonic() - wall, 0.05), 2)
