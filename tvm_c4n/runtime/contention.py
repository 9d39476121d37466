"""Whether other programs leave cores free, and how many they took, as Linux reports it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from tvm_c4n.errors import C4nError

# Cores must be taken at each of this many readings: most programs that run are brief.
READINGS = 3

_LOAD, _TASKS, _STAT = (Path("/proc", name) for name in ("loadavg", "self/task", "stat"))


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


class CpuContention:
    """Context manager: the cores that other processes took within its block, in `cores`."""

    cores = 0.0

    def __enter__(self) -> CpuContention:
        self._began = time.monotonic(), busy_secs(), own_secs()
        return self

    def __exit__(self, *_error: object) -> None:
        wall, busy, own = self._began
        taken = busy_secs() - busy - (own_secs() - own)
        # Both clocks tick a hundred times a second: short blocks are known to a few per cent only.
        self.cores = round(max(0.0, taken) / max(time.monotonic() - wall, 0.05), 2)
