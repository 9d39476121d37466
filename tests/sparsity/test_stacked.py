"""Matrices below each other that differ in n: the same as each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity import (
    DTYPES,
    C4nWeight,
    StackedWeight,
    from_dense,
    mask_from_scores,
    pack,
    size_bytes,
)

EACH, ROWS, COLS = (2, 0, 3, 2), 3, 20


def matrices(dtype: Any) -> list[C4nWeight]:
    scores = np.random.default_rng(0).standard_normal((len(EACH), ROWS, COLS))
    return [
        from_dense(s, n, dtype, mask=mask_from_scores(np.abs(s), n), scale_group=8)
        for s, n in zip(scores, EACH, strict=True)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_each_matrix_below_the_other(dtype: Any) -> None:
    alone = matrices(dtype)
    weight = StackedWeight.of(alone)
    assert isinstance(weight, StackedWeight)
    weight.check()
    assert (weight.removed, weight.rows, weight.cols, weight.dtype) == (EACH, 12, COLS, dtype)
    assert [part.removed for part in weight.parts] == [0, 2, 3]
    assert weight.places() == [(1, 0), (0, 0), (2, 0), (1, 1)]
    np.testing.assert_array_equal(weight.dense(), np.concatenate([m.dense() for m in alone]))
    np.testing.assert_array_equal(weight.mask(), np.concatenate([m.mask() for m in alone]))
    for index, one in enumerate(alone):
        np.testing.assert_array_equal(weight.matrix(index).values, one.values)
    if weight.scales is not None:
        stored = np.concatenate([np.asarray(m.scales) for m in alone])
        np.testing.assert_array_equal(weight.scales, stored)
    assert weight.size_bytes == sum(m.size_bytes for m in alone)
    assert weight.size_bytes == size_bytes(12, COLS, EACH, dtype, 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_again_it_is_the_same(dtype: Any) -> None:
    weight = StackedWeight.of(matrices(dtype))
    again = pack(
        weight.dense(),
        EACH,
        dtype,
        mask=weight.mask(),
        scales=weight.scales,  # type: ignore[arg-type]
        scale_group=8,
    )
    assert isinstance(again, StackedWeight)
    np.testing.assert_array_equal(again.dense(), weight.dense())
    np.testing.assert_array_equal(again.mask(), weight.mask())


def test_matrices_that_are_alike_are_one_weight() -> None:
    one = matrices("int4")[0]
    weight = StackedWeight.of([one, one])
    assert isinstance(weight, C4nWeight)
    assert (weight.rows, weight.removed) == (2 * ROWS, 2)


def test_what_is_no_such_weight_is_refused() -> None:
    sparse, dense = matrices("float16")[:2]
    with pytest.raises(C4nError, match="all are the same"):
        StackedWeight((2, 2), (sparse,))
    other = matrices("int8")[0]
    for parts in ((sparse, dense), (dense,), (dense, sparse.between(0, 2)), (dense, other)):
        with pytest.raises(C4nError, match="do not fit each other"):
            StackedWeight((0, 2), parts)
    with pytest.raises(C4nError, match="5 rows are no multiple of 2 matrices"):
        pack(np.ones((5, 4)), (0, 1), "float16")
