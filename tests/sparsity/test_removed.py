"""n of a weight, or of each of its matrices."""

from __future__ import annotations

import pytest

from tvm_c4n.sparsity import (
    Removed,
    count_removed,
    describe_removed,
    joined_removed,
    kept_share,
    removed_of_each,
    short_removed,
    usual_removed,
)


@pytest.mark.parametrize(
    ("removed", "usual", "kept", "short", "said"),
    [
        (2, 2, 0.5, "2", "n=2: 2 of 4 removed, 50 % kept"),
        ((2, 1, 1, 0), 1, 0.75, "0-2", "dense x1, n=1 x2, n=2 x1"),
        ((3, 1), 3, 0.5, "1-3", "n=1 x1, n=3 x1"),
    ],
)
def test_what_is_said_of_n(
    removed: Removed, usual: int, kept: float, short: str, said: str
) -> None:
    assert usual_removed(removed) == usual
    assert kept_share(removed) == kept
    assert short_removed(removed) == short
    assert describe_removed(removed) == said


def test_matrices_that_are_alike_have_one_n() -> None:
    assert joined_removed([2, 2, 2]) == 2
    assert joined_removed([2, 1, 2]) == (2, 1, 2)
    assert removed_of_each(2, 3) == (2, 2, 2)
    assert removed_of_each((2, 1), 2) == (2, 1)


def test_weights_are_counted_or_their_matrices() -> None:
    assert count_removed([1, 2, 2]) == {1: 1, 2: 2}
    assert count_removed([1, (2, 2, 1)]) == {1: 4, 2: 2}
