"""Packing: bit-exact both ways, for every pattern and dtype."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.sparsity import (
    DTYPES,
    INT_BITS,
    from_dense,
    mask_from_scores,
    quantize,
    size_bytes,
    stats_of,
)


def random_case(rows: int, cols: int, removed: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A weight with some zeros, float16-representable, and a random mask."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((rows, cols)).astype(np.float16).astype(np.float32)
    weight[rng.random(weight.shape) < 0.2] = 0
    return weight, mask_from_scores(rng.random(weight.shape), removed)


CASES = st.tuples(
    st.integers(1, 5),
    st.integers(1, 20).map(lambda groups: 4 * groups),
    st.integers(0, 3),
    st.integers(0, 2**31),
)


@given(CASES, st.sampled_from(DTYPES), st.sampled_from([4, 12, 64]))
def test_round_trip(case: tuple[int, int, int, int], dtype: str, scale_group: int) -> None:
    rows, cols, removed, _ = case
    weight, mask = random_case(*case)
    packed = from_dense(weight, removed, dtype, mask=mask, scale_group=scale_group)
    packed.check()
    np.testing.assert_array_equal(packed.mask(), mask)
    kept = np.where(mask, weight, 0)
    if packed.scales is None:
        expected = kept
    else:
        codes = quantize(kept, packed.scales, INT_BITS[dtype], scale_group)
        spread = np.repeat(packed.scales.astype(np.float32), scale_group, axis=1)[:, :cols]
        expected = np.where(mask, codes * spread, 0)
    np.testing.assert_array_equal(packed.dense(), expected)
    assert packed.size_bytes == size_bytes(rows, cols, removed, dtype, scale_group)
    # The same weight from its parts, by the slow way that the kernels' oracles use.
    columns = packed.unpacked_positions().astype(np.int64)
    assert (np.diff(columns, axis=2) > 0).all()
    groups = np.zeros((rows, cols // 4, 4), dtype=np.float32)
    np.put_along_axis(groups, columns, packed.unpacked_values().astype(np.float32), axis=2)
    slow = groups.reshape(rows, cols)
    np.testing.assert_array_equal(slow if packed.scales is None else slow * spread, expected)


@given(CASES, st.sampled_from(DTYPES))
def test_packing_what_was_unpacked_changes_nothing(
    case: tuple[int, int, int, int], dtype: str
) -> None:
    weight, mask = random_case(*case)
    once = from_dense(weight, case[2], dtype, mask=mask)
    twice = from_dense(once.dense(), case[2], dtype, mask=once.mask(), scales=once.scales)
    for part in ("values", "positions", "scales"):
        np.testing.assert_array_equal(getattr(once, part), getattr(twice, part))


def test_kept_zeros_stay_kept() -> None:
    mask = np.array([[False, True, True, False]])
    packed = from_dense(np.array([[5.0, 0.0, 2.0, 7.0]]), 2, "float16", mask=mask)
    assert packed.dense().tolist() == [[0, 0, 2, 0]]
    np.testing.assert_array_equal(packed.mask(), mask)
    assert stats_of(packed).zeros == 1


def test_without_a_mask_zeros_are_removed_and_surplus_zeros_stay_low() -> None:
    packed = from_dense(np.array([[0, 0, 0, 3.0, 0, 0, 0, 0]]), 2, "float32")
    assert packed.unpacked_positions().tolist() == [[[0, 3], [0, 1]]]
    with pytest.raises(C4nError, match=r"3 non-zeros in row 0, group 1.*n=2"):
        from_dense(np.array([[0, 0, 1, 1, 1, 1, 1, 0.0]]), 2, "float32")


def test_refusals_of_from_dense() -> None:
    weight = np.ones((2, 8))
    mask = mask_from_scores(weight, 2)
    with pytest.raises(RecipeError, match="30 columns"):
        from_dense(np.ones((2, 30)), 2, "int8")
    with pytest.raises(C4nError, match="dtype 'int5'"):
        from_dense(weight, 0, "int5")  # type: ignore[arg-type]
    with pytest.raises(C4nError, match="mask has shape"):
        from_dense(weight, 2, "int8", mask=mask[:1])
    with pytest.raises(C4nError, match="mask keeps 2"):
        from_dense(weight, 1, "int8", mask=mask)
    with pytest.raises(C4nError, match="float16 has no scales"):
        from_dense(weight, 0, "float16", scales=np.ones((2, 1), np.float16))
    with pytest.raises(C4nError, match=r"65520\.0 of row 0, col 0 overflows float16"):
        from_dense(np.full((1, 4), 65520.0), 0, "float16")
    assert from_dense(np.full((1, 4), 65520.0), 0, "float32").dense()[0, 0] == 65520
    with pytest.raises(C4nError, match="not finite"):
        from_dense(np.full((1, 4), np.nan), 0, "float32")
