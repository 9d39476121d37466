"""Memory is read within what memory can."""

from __future__ import annotations

import pytest

from tvm_c4n.runtime.bandwidth import read_bandwidth


@pytest.mark.parametrize("working_set_bytes", [1 << 16, 1 << 22])
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_read_within_what_memory_can(working_set_bytes: int, threads: int) -> None:
    found = read_bandwidth(0.0, working_set_bytes=working_set_bytes, threads=threads)
    assert 1e8 < found < 4e12


def test_all_cores_read_memory_by_default() -> None:
    assert 1e8 < read_bandwidth(0.0) < 2e12
