"""Masks: exact counts, ties, errors that name the place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.sparsity import check_mask, describe, detect_removed, kept_of, mask_from_scores


def matrices(dtype: type = np.float32, **values: object) -> st.SearchStrategy[np.ndarray]:
    """(rows, groups * 4) matrices, single rows and single groups included."""
    shapes = st.tuples(st.integers(1, 5), st.integers(1, 9).map(lambda groups: 4 * groups))
    return shapes.flatmap(lambda shape: hnp.arrays(dtype, shape, **values))


def slow_mask(scores: np.ndarray, removed: int) -> np.ndarray:
    mask = np.zeros(scores.shape, dtype=bool)
    for row in range(scores.shape[0]):
        for start in range(0, scores.shape[1], 4):
            group = scores[row, start : start + 4]
            best = sorted(range(4), key=lambda i: (-group[i], i))[: 4 - removed]
            mask[row, [start + i for i in best]] = True
    return mask


@given(matrices(elements=st.integers(-3, 3).map(float)), st.integers(0, 3))
def test_mask_is_the_sorted_one(scores: np.ndarray, removed: int) -> None:
    mask = mask_from_scores(scores, removed)
    check_mask(mask, removed)
    np.testing.assert_array_equal(mask, slow_mask(scores, removed))


def test_mask_over_several_row_blocks() -> None:
    scores = np.random.default_rng(0).integers(-9, 9, (300, 8192)).astype(np.float64)
    order = np.argsort(-scores.reshape(-1, 4), axis=1, kind="stable")
    expected = np.zeros((300 * 2048, 4), dtype=bool)
    np.put_along_axis(expected, order[:, :2], True, axis=1)
    np.testing.assert_array_equal(mask_from_scores(scores, 2), expected.reshape(scores.shape))


def test_ties_go_to_the_lower_column_and_infinities_force() -> None:
    assert mask_from_scores(np.zeros((1, 4)), 2).tolist() == [[True, True, False, False]]
    forced = np.array([[-np.inf, 1, np.inf, 2]])
    assert mask_from_scores(forced, 3).tolist() == [[False, False, True, False]]
    assert mask_from_scores(forced, 1).tolist() == [[False, True, True, True]]


def test_unsigned_and_boolean_scores() -> None:
    scores = np.array([[0, 255, 1, 2]], dtype=np.uint8)
    assert mask_from_scores(scores, 2).tolist() == [[False, True, False, True]]
    assert mask_from_scores(scores > 1, 2).tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("removed", [-1, 4, True, 1.0, "2", None])
def test_removed_outside_0_to_3(removed: object) -> None:
    with pytest.raises(RecipeError, match="removed"):
        kept_of(removed)  # type: ignore[arg-type]


def test_describe() -> None:
    assert describe(0) == "dense"
    assert describe(1) == "n=1: 1 of 4 removed, 75 % kept"
    assert describe(3) == "n=3: 3 of 4 removed, 25 % kept"


def test_columns_that_groups_do_not_fill() -> None:
    with pytest.raises(RecipeError, match=r"^30 columns .*dense \(removed=0\)"):
        mask_from_scores(np.zeros((2, 30)), 1)
    assert mask_from_scores(np.zeros((2, 30)), 0).all()


def test_nan_scores_are_located() -> None:
    scores = np.zeros((700, 4096), dtype=np.float32)
    scores[650, 17] = np.nan
    with pytest.raises(C4nError, match="row 650, column 17 is NaN"):
        mask_from_scores(scores, 2)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (4, 0), (1, 4, 4)])
def test_only_matrices(shape: tuple[int, ...]) -> None:
    for function in (mask_from_scores, check_mask):
        with pytest.raises(C4nError, match="matrix"):
            function(np.ones(shape, dtype=bool), 0)
    with pytest.raises(C4nError, match="matrix"):
        detect_removed(np.ones(shape))


def test_check_mask_names_the_first_bad_group() -> None:
    mask = mask_from_scores(np.zeros((3, 12)), 2)
    mask[1, 4:8] = [True, True, True, False]
    mask[2, 0] = False
    with pytest.raises(C4nError, match="keeps 3 weights in row 1, group 1; C4n n=2"):
        check_mask(mask, 2)
    with pytest.raises(C4nError, match="dense weight removes row 0, group 0"):
        check_mask(mask, 0)
    with pytest.raises(C4nError, match="must be bool"):
        check_mask(mask.astype(np.int8), 2)


def test_detect_removed() -> None:
    weight = np.array([[0, 1, 0, 0, 0, 0, 0, 0]], dtype=np.float16)
    assert detect_removed(weight) == 3
    weight[0, 5:7] = 1
    assert detect_removed(weight) == 2
    assert detect_removed(np.zeros((2, 8))) == 3
    assert detect_removed(np.zeros((2, 7))) == 0
    assert detect_removed(np.full((2, 8), np.nan)) == 0
