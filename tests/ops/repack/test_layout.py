"""Where the vectors of a k-block lie: they fill it, and no two share a byte."""

from __future__ import annotations

import pytest

from tvm_c4n.ops.repack import FORMATS, PanelFormat
from tvm_c4n.ops.repack.layout import MIN_BUNDLES, KBlock, PanelLayout, Part

# (columns, removed, dtype, scale group, bytes of a vector of values per row, rows of a panel)
CASES = [
    (64, 0, "float32", 0, 4, 8),
    (64, 2, "float16", 0, 2, 8),
    (160, 0, "int8", 64, 1, 8),
    (256, 2, "int4", 32, 4, 8),
    (256, 1, "int8", 128, 4, 8),
    (256, 0, "int4", 64, 4, 8),
    (256, 2, "int4", 128, 4, 4),
    (256, 3, "int4", 64, 4, 4),
]


@pytest.mark.parametrize(("cols", "removed", "dtype", "group", "value_bytes", "mr"), CASES)
@pytest.mark.parametrize("rows", [5, 130, 600])
def test_vectors_fill_a_k_block(
    rows: int, cols: int, removed: int, dtype: str, group: int, value_bytes: int, mr: int
) -> None:
    cls = next(each for each in FORMATS if each.holds(rows, cols, removed, dtype, mr))
    fmt: PanelFormat = cls(rows, cols, removed, dtype, group, mr)
    layout, k_block = fmt.layout, fmt.k_block
    used = [0] * layout.shape[2]
    sizes = {
        Part.POSITIONS: (k_block.slices * k_block.position_bytes, 4),
        Part.VALUES: (k_block.slices * k_block.value_bytes, value_bytes),
        Part.SCALES: (k_block.scale_bytes, 2),
    }
    for part, (size, lane_bytes) in sizes.items():
        width = mr * lane_bytes
        for panel in range(layout.panels):
            for index in range(size // width):
                start = layout.offset(part, index, panel, lane_bytes)
                for byte in range(start, start + width):
                    used[byte] += 1
    assert set(used) == {1}


@pytest.mark.parametrize(("rows", "panels"), [(8, 1), (8 * 15, 1), (8 * 16, 2), (8 * 32, 4)])
def test_small_weights_are_cut_into_bundles_for_all_cores(rows: int, panels: int) -> None:
    layout = PanelLayout.of(rows, 64, 8, KBlock(8, 8 * 8 * 4))
    assert layout.panels == panels
    assert layout.bundles * layout.bundle_rows >= rows
    assert layout.panels == 1 or layout.bundles >= MIN_BUNDLES
