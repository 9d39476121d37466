"""Sparse float weights: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import SHAPES, check, weight_of
from tvm_c4n.ops.repack import SparseFloatPanel


@pytest.mark.parametrize("mr", [4, 16])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("removed", [1, 2, 3])
def test_it_reads_back(removed: int, dtype: str, mr: int) -> None:
    check(
        (SparseFloatPanel(*s, removed, dtype, 0, mr), weight_of(s, removed, dtype)) for s in SHAPES
    )


def test_what_it_holds() -> None:
    assert SparseFloatPanel.holds(64, 64, 3, "float32", 8)
    assert not SparseFloatPanel.holds(64, 64, 0, "float32", 8)
    assert not SparseFloatPanel.holds(64, 64, 3, "int4", 8)
