"""int4 weights with positions beside them: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import SHAPES, check, weight_of
from tvm_c4n.ops.repack import IntPanel, NestedPanel


@pytest.mark.parametrize("removed", [2, 3])
def test_it_reads_back(removed: int) -> None:
    check(
        (
            NestedPanel(*shape, removed, "int4", scale_group, 4),
            weight_of(shape, removed, "int4", scale_group),
        )
        for shape in SHAPES
        for scale_group in (32, 64, 128)
    )


@pytest.mark.parametrize("removed", [2, 3])
def test_it_takes_no_more_bytes(removed: int) -> None:
    sizes = (37, 260, removed, "int4", 128, 4)
    assert NestedPanel(*sizes).layout.shape == IntPanel(*sizes).layout.shape


def test_what_it_holds() -> None:
    assert NestedPanel.holds(64, 64, 2, "int4", 4)
    assert not NestedPanel.holds(64, 64, 2, "int4", 8)
    assert not NestedPanel.holds(64, 64, 1, "int4", 4)
    assert not NestedPanel.holds(64, 64, 3, "int8", 4)
