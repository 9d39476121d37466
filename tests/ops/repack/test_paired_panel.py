"""Dense int4 weights of pairs of panels: repacked, they read back as they were."""

from __future__ import annotations

import pytest

from tests.ops.repack.read_back import check, weight_of
from tvm_c4n.ops.repack import IntPanel, PairedPanel


@pytest.mark.parametrize("rows", [61, 128, 130, 260])
def test_it_reads_back(rows: int) -> None:
    check(
        (
            PairedPanel(rows, cols, 0, "int4", scale_group, 4),
            weight_of((rows, cols), 0, "int4", scale_group),
        )
        for cols, scale_group in ((64, 64), (67, 32), (260, 128))
    )


def test_it_takes_no_more_bytes() -> None:
    sizes = (130, 260, 0, "int4", 128, 4)
    assert PairedPanel(*sizes).layout.shape == IntPanel(*sizes).layout.shape


def test_what_it_holds() -> None:
    assert PairedPanel.holds(61, 64, 0, "int4", 4)
    assert not PairedPanel.holds(60, 64, 0, "int4", 4)
    assert PairedPanel(61, 64, 0, "int4", 64, 4).layout.panels == 2
    assert PairedPanel(60, 64, 0, "int4", 64, 4).layout.panels == 1
    assert not PairedPanel.holds(61, 64, 0, "int4", 8)
    assert not PairedPanel.holds(61, 64, 1, "int4", 4)
    assert not PairedPanel.holds(61, 64, 0, "int8", 4)
