"""A stored weight: known bytes, what is expanded from them, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity import (
    DTYPES,
    C4nWeight,
    check_mask,
    from_dense,
    mask_from_scores,
    relative_error,
    stats_of,
)


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
    most = {"int2": 0.5, "int3": 0.3, "int4": 0.2, "int8": 0.01}.get(dtype, 1e-9)
    assert relative_error(packed, weight) < most
    flat = packed.unpacked_values().reshape(2, -1)
    assert not flat[:, cols:].any()
    assert stats_of(packed).kept == 2 * cols


def test_several_row_blocks() -> None:
    weight = np.random.default_rng(3).standard_normal((600, 4096)).astype(np.float16)
    mask = mask_from_scores(np.abs(weight), 3)
    packed = from_dense(weight, 3, "float16", mask=mask)
    packed.check()
    np.testing.assert_array_equal(packed.dense(), np.where(mask, weight, 0))


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


@pytest.mark.parametrize(
    ("dtype", "weight", "values"),
    [
        # 3, -4, 1, 0 and -1 as 3, 4, 1, 0 and 7: 011, 100, 001, 000, 111 from the low bits up.
        ("int3", [[3, -4, 1, 0, -1]], "63 70"),
        # 2 q + 1 with q of two's complement: -3, -1, 1, 3 and 1 are 10, 11, 00, 01 and 00.
        ("int2", [[-3, -1, 1, 3, 1]], "4e 00"),
    ],
)
def test_known_bytes_of_few_bits(dtype: str, weight: list[list[float]], values: str) -> None:
    half = 0.5 * np.array(weight)
    packed = from_dense(half, 0, dtype, scales=np.full((1, 1), 0.5, np.float16))
    assert packed.values.tobytes().hex(" ") == values
    np.testing.assert_array_equal(packed.dense(), half)


def test_padding_bits_must_be_zero() -> None:
    packed = from_dense(np.ones((1, 4)), 3, "int4", mask=np.array([[True, False, False, False]]))
    packed.check()
    check_mask(packed.mask(), 3)
    with pytest.raises(C4nError, match="padding bits after the last value"):
        dataclasses.replace(packed, values=packed.values | np.uint8(0x10)).check()
