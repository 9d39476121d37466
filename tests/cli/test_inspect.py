"""`tvm-c4n inspect`: its table."""

import pytest

from tvm_c4n.cli.inspect import _pattern


@pytest.mark.parametrize(
    ("removed", "text"),
    [
        ({0: 3}, "dense"),
        ({2: 16}, "C4n n=2: 2 of 4 removed, 50 % kept (NVIDIA 2:4)"),
        ({2: 4, 0: 1, 1: 11}, "dense x1, n=1 x11, n=2 x4"),
    ],
)
def test_a_pattern_is_described_and_several_are_counted(removed, text):
    assert _pattern(removed) == text
