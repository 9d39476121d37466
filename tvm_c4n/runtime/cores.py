"""The cores of this machine, the biggest first, as Linux describes them: phones have several kinds.

`tvm_c4n/runtime/native/cores.cpp` reads the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

SYSFS = Path("/sys/devices/system/cpu")
# What a core can do, by the scheduler's own measure; its highest frequency where that is missing.
_SIZES = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
# Cores of at least this much of the biggest one's size are of its kind: of cores that are alike,
# some may be clocked a few percent higher.
_SAME_KIND = 0.9


class Cores(NamedTuple):
    """Cores in the order in which threads take them.

    Attributes
    ----------
    order : tuple of int
        Numbers of the cores that this process may use, the biggest first.
    counts : tuple of int
        How many cores there are of the biggest kind, of the two biggest kinds, ... of all.
    """

    order: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def uneven(self) -> bool:
        """Whether there are several kinds."""
        return len(self.counts) > 1

    def for_threads(self, threads: int) -> tuple[int, ...]:
        """Return the cores of the fewest kinds, biggest first, that have one for each thread."""
        counts = (count for count in self.counts if count >= threads)
        return self.order[: next(counts, len(self.order))]


def find_cores(folder: Path = SYSFS, allowed: set[int] | None = None) -> Cores:
    """Return the cores; all of one kind where the system does not say.

    Parameters
    ----------
    folder : Path
        With a folder ``cpuN`` for each core.
    allowed : set of int, optional
        Numbers of the cores; default: those that this process may use.
    """
    numbers = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    for name in _SIZES:
        sizes = {number: _read(folder / f"cpu{number}" / name) for number in numbers}
        if all(sizes.values()):
            break
    else:
        return Cores(tuple(numbers), (len(numbers),))
    order = sorted(numbers, key=lambda number: -sizes[number])
    counts, biggest = [], sizes[order[0]]
    for place, number in enumerate(order):
        if sizes[number] < _SAME_KIND * biggest:
            counts.append(place)
            biggest = sizes[number]
    return Cores(tuple(order), (*counts, len(order)))


def _read(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
