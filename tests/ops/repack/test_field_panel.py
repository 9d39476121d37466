"""Weights of three and two bits: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import SHAPES, check, weight_of
from tvm_c4n.ops.repack import FieldPanel, IntPanel


@pytest.mark.parametrize("dtype", ["int3", "int2"])
@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_it_reads_back(removed: int, dtype: str) -> None:
    check(
        (
            FieldPanel(*shape, removed, dtype, scale_group, 4),
            weight_of(shape, removed, dtype, scale_group),
        )
        for shape in SHAPES
        for scale_group in (32, 128)
    )


def test_dense_columns_need_not_be_a_multiple_of_four() -> None:
    cases = [((21, 67), "int3"), ((5, 193), "int2")]
    check((FieldPanel(*s, 0, dtype, 64, 8), weight_of(s, 0, dtype)) for s, dtype in cases)


@pytest.mark.parametrize(
    ("dtype", "removed", "bytes_per_row"),
    [("int3", 0, 192), ("int3", 1, 144), ("int3", 2, 96), ("int3", 3, 48), ("int2", 1, 96)],
)
def test_a_field_takes_no_more_than_its_bits(dtype: str, removed: int, bytes_per_row: int) -> None:
    layout = FieldPanel(16, 512, removed, dtype, 128, 16).layout
    block, slices = layout.k_block, layout.k_blocks * layout.k_block.slices
    assert slices * block.value_bytes == 16 * bytes_per_row
    whole = IntPanel(16, 512, removed, "int4", 128, 16).layout
    codes = whole.k_blocks * whole.k_block.slices * whole.k_block.position_bytes
    assert slices * block.position_bytes == codes


def test_what_it_holds() -> None:
    assert FieldPanel.holds(64, 64, 2, "int3", 8)
    assert not FieldPanel.holds(64, 64, 2, "int4", 8)
