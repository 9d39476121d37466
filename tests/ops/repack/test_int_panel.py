"""Integer weights: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import SHAPES, check, weight_of
from tvm_c4n.ops.repack import IntPanel


@pytest.mark.parametrize("scale_group", [32, 64, 128])
@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_it_reads_back(removed: int, dtype: str, scale_group: int) -> None:
    check(
        (
            IntPanel(*shape, removed, dtype, scale_group, mr),
            weight_of(shape, removed, dtype, scale_group),
        )
        for shape in SHAPES
        for mr in (4, 16)
    )


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_dense_columns_need_not_be_a_multiple_of_four(dtype: str) -> None:
    shapes = ((21, 67), (5, 193))
    check((IntPanel(*s, 0, dtype, 64, 8), weight_of(s, 0, dtype)) for s in shapes)


def test_what_it_holds() -> None:
    assert IntPanel.holds(64, 64, 2, "int4", 8)
    assert not IntPanel.holds(64, 64, 2, "float16", 8)
