"""The prefetches of a weight stream."""

from __future__ import annotations

import re

import pytest

from tvm_c4n.ops.repack import FloatPanel, Prefetching
from tvm_c4n.ops.spec import RmsNormSpec
from tvm_c4n.ops.tir import CACHE_LINE, Locality, build, declare_or_bind, load, local, store


def script(mr: int, prefetching: Prefetching) -> str:
    """The code that reads a bundle's first k-block."""
    fmt = FloatPanel(64 * mr, 8, 0, "float16", 0, mr)

    def body() -> None:
        (weight,) = fmt.declare()
        out = declare_or_bind("out", (mr,))
        copy = local((mr,))
        stream = fmt.stream(weight, 0, 0, prefetching)
        for index in range(fmt.layout.kc):
            for r in range(fmt.layout.panels):
                store(copy, (), 0, mr, stream.weight(0, index, r))
        store(out, (), 0, mr, load(copy, (), 0, mr))

    return str(build(RmsNormSpec(False, 1, 0.0), "read", body).script())


def test_nothing_is_prefetched_by_default() -> None:
    assert "prefetch" not in script(16, Prefetching())


@pytest.mark.parametrize("locality", Locality)
def test_each_line_is_prefetched_once_and_in_order(locality: Locality) -> None:
    found = re.findall(
        r"prefetch\(.*\[0, 0, (\d+)\]\), 0, (\d), 1\)", script(16, Prefetching(4096, locality))
    )
    lines = range(4096, 4096 + 8 * 4 * 16 * 2, CACHE_LINE)
    assert [int(offset) for offset, _ in found] == list(lines)
    assert {number for _, number in found} == {str(int(locality))}
