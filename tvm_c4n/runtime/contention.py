"""Whether other programs leave cores free, as Linux says it."""

from __future__ import annotations

import os
from pathlib import Path

LOOKS = 3
"""So often in a row the cores must be taken before it counts: most programs that run are brief."""

_LOAD, _TASKS = Path("/proc/loadavg"), Path("/proc/self/task")


def cores_available(threads: int) -> bool:
    """Return whether so many threads of this process would have a core each, right now.

    Where the system does not say, there is room.
    """
    cores = os.cpu_count() or 1
    return any(threads + _running_elsewhere() <= cores for _ in range(LOOKS))


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
