"""Dense int8 weights with few columns: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import check, weight_of
from tvm_c4n.ops.repack import Int8ColumnPanel


@pytest.mark.parametrize("mr", [4, 16])
@pytest.mark.parametrize("scale_group", [32, 64, 128])
def test_it_reads_back(scale_group: int, mr: int) -> None:
    shapes = [(1, 4), (3, 5), (21, 24), (37, 160), (256, 67), (40, 192)]
    check(
        (Int8ColumnPanel(*s, 0, "int8", scale_group, mr), weight_of(s, 0, "int8", scale_group))
        for s in shapes
    )


def test_what_it_holds() -> None:
    assert Int8ColumnPanel.holds(64, 160, 0, "int8", 8)
    assert not Int8ColumnPanel.holds(64, 160, 0, "int4", 8)
    assert not Int8ColumnPanel.holds(64, 160, 2, "int8", 8)
    assert not Int8ColumnPanel.holds(64, 384, 0, "int8", 8)
