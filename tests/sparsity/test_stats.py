"""What weights cost and how far they are from the dense ones."""

from __future__ import annotations

import numpy as np
import pytest

from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.sparsity import (
    DTYPES,
    from_dense,
    mask_from_scores,
    relative_error,
    size_bytes,
    stats_of,
    total,
)


def test_bits_per_weight() -> None:
    table = {
        "float16": (16, 12.5, 9, 4.5),
        "int8": (8, 6.5, 5, 2.5),
        "int4": (4, 3.5, 3, 1.5),
    }
    for dtype, row in table.items():
        for removed, expected in enumerate(row):
            scales = 0 if dtype == "float16" else 16 / 64
            bits = 8 * size_bytes(8, 1024, removed, dtype) / (8 * 1024)
            assert bits == expected + scales


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("removed", "cols"), [(0, 27), (0, 128), (1, 100), (2, 100), (3, 100)])
def test_a_size_is_that_of_the_arrays(dtype: str, removed: int, cols: int) -> None:
    weight = np.random.default_rng(0).standard_normal((3, cols))
    mask = mask_from_scores(np.abs(weight), removed)
    stored = from_dense(weight, removed, dtype, mask=mask, scale_group=12)
    arrays = (stored.values, stored.positions, stored.scales)
    found = size_bytes(3, cols, removed, dtype, 12)
    assert found == sum(a.nbytes for a in arrays if a is not None) == stored.size_bytes


def test_a_size_that_cannot_be_is_refused() -> None:
    with pytest.raises(RecipeError, match="30 columns"):
        size_bytes(2, 30, 1, "int8")
    with pytest.raises(C4nError, match="scale_group=6"):
        size_bytes(2, 32, 1, "int8", 6)


def test_zeros_that_are_stored_are_counted_and_padding_is_not() -> None:
    weight = np.ones((2, 7))
    weight[1, 2:4] = 0
    found = stats_of(from_dense(weight, 0, "int4"))
    assert (found.weights, found.kept, found.zeros) == (14, 14, 2)


def test_total_of_stats() -> None:
    one = stats_of(from_dense(np.eye(4), 3, "float16"))
    both = total([one, one])
    assert (both.weights, both.kept, both.zeros) == (32, 8, 0)
    assert total([]).weights == 0


def test_the_relative_error_is_that_of_the_norms() -> None:
    dense = np.array([[3.0, 0, 4, 0]])
    stored = from_dense(np.array([[3.0, 0, 0, 0]]), 3, "float32")
    assert relative_error(stored, dense) == 4 / 5
    zero = from_dense(np.zeros((1, 4)), 0, "float32")
    assert relative_error(zero, np.zeros((1, 4))) == 0
    assert relative_error(stored, np.zeros((1, 4))) == float("inf")
    with pytest.raises(C4nError, match=r"shape \(4, 1\) is not \(1, 4\)"):
        relative_error(stored, dense.T)
