"""Whether other programs leave cores free, as Linux reports it."""

from __future__ import annotations

import os
from pathlib import Path

# Cores must be taken at each of this many readings: most programs that run are brief.
READINGS = 3

_LOAD, _TASKS = Path("/proc/loadavg"), Path("/proc/self/task")


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
