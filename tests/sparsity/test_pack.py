"""Packing: bit-exact both ways, for every pattern and dtype."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.sparsity import (
    DTYPES,
    C4nWeight,
    check_mask,
    from_dense,
    mask_from_scores,
    quantize,
    relative_error,
    size_bytes,
    stats_of,
    total,
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
        bits = 8 if dtype == "int8" else 4
        codes = quantize(kept, packed.scales, bits, scale_group)
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cols", [1, 2, 3, 5, 24, 27])
def test_dense_weights_may_have_any_width(dtype: str, cols: int) -> None:
    weight = np.arange(1, 2 * cols + 1, dtype=np.float32).reshape(2, cols) / 64
    packed = from_dense(weight, 0, dtype)
    packed.check()
    assert packed.positions is None
    assert packed.groups == -(-cols // 4)
    assert packed.unpacked_values().shape == (2, packed.groups, 4)
    assert packed.unpacked_positions()[0, -1].tolist() == [0, 1, 2, 3]
    assert relative_error(packed, weight) < {"int4": 0.2, "int8": 0.01}.get(dtype, 1e-9)
    flat = packed.unpacked_values().reshape(2, -1)
    assert not flat[:, cols:].any()
    assert stats_of(packed).kept == 2 * cols


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_known_positions(removed: int) -> None:
    masks = {
        1: ([0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1], [0b10011100, 0b01]),
        2: ([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1], [0b11010100, 0b1110]),
        3: ([0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [0b10010011, 0b11]),
    }
    flags, expected = masks[removed]
    mask = np.array([flags], dtype=bool)
    packed = from_dense(np.ones(mask.shape), removed, "float32", mask=mask)
    assert packed.positions is not None
    assert packed.positions.tolist() == [expected]


def test_known_int4_bytes() -> None:
    weight = np.array([[0, 1.5, 0, -4, 0.5, 3.5, 0, 0, 0, 0, -0.5, 2]])
    packed = from_dense(weight, 2, "int4", scales=np.full((1, 1), 0.5, np.float16))
    assert packed.values.tobytes().hex() == "83714f"
    assert packed.positions is not None
    assert packed.positions.tobytes().hex() == "4d0e"
    np.testing.assert_array_equal(packed.dense(), weight)


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


def test_several_row_blocks() -> None:
    weight = np.random.default_rng(3).standard_normal((600, 4096)).astype(np.float16)
    mask = mask_from_scores(np.abs(weight), 3)
    packed = from_dense(weight, 3, "float16", mask=mask)
    packed.check()
    np.testing.assert_array_equal(packed.dense(), np.where(mask, weight, 0))


def test_bits_per_weight_of_the_design() -> None:
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


def test_total_of_stats() -> None:
    one = stats_of(from_dense(np.eye(4), 3, "float16"))
    both = total([one, one])
    assert (both.weights, both.kept, both.zeros) == (32, 8, 0)
    assert both.removed_fraction == 0.75
    assert total([]).bits_per_weight == 0


def test_refusals_of_from_dense() -> None:
    weight = np.ones((2, 8))
    mask = mask_from_scores(weight, 2)
    with pytest.raises(RecipeError, match="30 columns"):
        from_dense(np.ones((2, 30)), 2, "int8")
    with pytest.raises(C4nError, match="dtype 'int3'"):
        from_dense(weight, 0, "int3")  # type: ignore[arg-type]
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


def broken(**changes: object) -> C4nWeight:
    """A valid weight of 2 rows and 12 columns with some fields replaced."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((2, 12))
    packed = from_dense(weight, 2, "int8", mask=mask_from_scores(weight, 2))
    return dataclasses.replace(packed, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros((2, 5), np.int8)}, r"values are int8\[2, 5\], expected int8\[2, 6\]"),
        ({"values": np.zeros((2, 6), np.uint8)}, "values are uint8"),
        ({"positions": None}, "positions are missing"),
        ({"scales": None}, "scales are missing"),
        ({"dtype": "float16", "scale_group": 0}, "values are int8"),
        ({"rows": 3}, "values are"),
        ({"cols": 13}, "13 columns"),
        ({"rows": 0}, "empty"),
        ({"scale_group": 6}, "scale_group=6"),
    ],
)
def test_parts_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(C4nError, match=message):
        broken(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.full((2, 6), -128, np.int8)}, "-128"),
        ({"positions": np.full((2, 2), 0x04, np.uint8)}, "row 0, group 1 do not ascend"),
        ({"positions": np.array([[0x44, 4], [0x44, 1]], np.uint8)}, "row 1, group 2"),
        ({"positions": np.full((2, 2), 0x44, np.uint8)}, "padding bits"),
        ({"scales": np.full((2, 1), np.nan, np.float16)}, "scale is not finite"),
    ],
)
def test_content_that_is_not_valid(changes: dict[str, object], message: str) -> None:
    with pytest.raises(C4nError, match=message):
        broken(**changes).check()


def test_padding_nibble_must_be_zero() -> None:
    packed = from_dense(np.ones((1, 4)), 3, "int4", mask=np.array([[True, False, False, False]]))
    packed.check()
    check_mask(packed.mask(), 3)
    with pytest.raises(C4nError, match="padding nibble"):
        dataclasses.replace(packed, values=packed.values | np.uint8(0x10)).check()
