"""Dense float weights: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import SHAPES, check, weight_of
from tvm_c4n.ops.repack import FloatPanel


@pytest.mark.parametrize("mr", [4, 16])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_reads_back(dtype: str, mr: int) -> None:
    shapes = [*SHAPES, (21, 67), (5, 1)]  # columns need not be a multiple of four
    check((FloatPanel(*s, 0, dtype, 0, mr), weight_of(s, 0, dtype)) for s in shapes)


def test_what_it_holds() -> None:
    assert FloatPanel.holds(64, 64, 0, "float16", 8)
    assert not FloatPanel.holds(64, 64, 1, "float16", 8)
    assert not FloatPanel.holds(64, 64, 0, "int8", 8)
