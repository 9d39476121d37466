"""Which cores are big: a folder like Linux' sysfs says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.runtime.cores import Cores, find_cores

CAPACITY, FREQUENCY = "cpu_capacity", "cpufreq/cpuinfo_max_freq"
# Three kinds: cores 0 to 3 are little, 4 to 6 big, 7 is the prime one.
PHONE = [250, 250, 250, 250, 790, 790, 790, 1024]


def sysfs(folder: Path, **files: list[int] | list[str]) -> Path:
    """Write a file of a name for each core."""
    for name, values in files.items():
        for number, value in enumerate(values):
            file = folder / f"cpu{number}" / {"capacity": CAPACITY}.get(name, FREQUENCY)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"capacity": PHONE}, Cores((7, 4, 5, 6, 0, 1, 2, 3), (1, 4, 8))),
        # Capacities count instructions, frequencies do not.
        ({"capacity": [1024, 400], "frequency": [2000, 2600]}, Cores((0, 1), (1, 2))),
        ({"frequency": [1800, 1800, 2400, 3000]}, Cores((3, 2, 0, 1), (1, 2, 4))),
        ({"frequency": [5500, 5700, 5500, 4300]}, Cores((1, 0, 2, 3), (3, 4))),
        ({"capacity": [1024, 1024]}, Cores((0, 1), (2,))),
        ({"capacity": [1024], "frequency": [2000, 3000]}, Cores((1, 0), (1, 2))),
        ({"frequency": ["fast", "slow"]}, Cores((0, 1), (2,))),
        ({}, Cores((0, 1), (2,))),
    ],
)
def test_the_biggest_come_first(
    tmp_path: Path, files: dict[str, list[int]], expected: Cores
) -> None:
    allowed = set(expected.order)
    assert find_cores(sysfs(tmp_path, **files), allowed) == expected
    assert expected.uneven == (len(expected.counts) > 1)


def test_cores_that_the_process_may_not_use_are_none(tmp_path: Path) -> None:
    found = find_cores(sysfs(tmp_path, capacity=PHONE), {1, 2, 4, 5})
    assert found == Cores((4, 5, 1, 2), (2, 4))


def test_threads_may_run_on_the_kinds_that_they_need() -> None:
    phone = Cores((7, 4, 5, 6, 0, 1, 2, 3), (1, 4, 8))
    assert [phone.for_threads(count) for count in (1, 2, 4)] == [(7,), (7, 4, 5, 6), (7, 4, 5, 6)]
    assert phone.for_threads(5) == phone.for_threads(9) == phone.order


def test_this_machine_has_the_cores_that_it_has() -> None:
    import os

    found = find_cores()
    assert set(found.order) == os.sched_getaffinity(0)
    assert found.counts[-1] == len(found.order)
