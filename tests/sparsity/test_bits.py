"""Packed fields and position codes, against versions that spell every bit out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tvm_c4n.sparsity import bits, mask_from_scores


def as_bits(array: np.ndarray) -> list[str]:
    """Each row as text, the lowest bit of the first byte first."""
    return ["".join(f"{byte:08b}"[::-1] for byte in row) for row in array]


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17])
def test_fields_follow_each_other_from_the_low_bits_up(width: int, count: int) -> None:
    fields = np.random.default_rng(count).integers(0, 1 << width, (3, count), np.uint8)
    packed = bits.pack_fields(fields, width)
    for row, text in zip(fields, as_bits(packed), strict=True):
        expected = "".join(f"{field:0{width}b}"[::-1] for field in row)
        assert text == expected.ljust(8 * packed.shape[1], "0")
    np.testing.assert_array_equal(bits.unpack_fields(packed, width, count), fields)


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_codes_name_what_the_format_says(removed: int) -> None:
    for kept in combinations(range(4), 4 - removed):
        mask = np.zeros((1, 4), bool)
        mask[0, list(kept)] = True
        packed = bits.encode_mask(mask, removed)
        # n=1 names the column that is gone, n=2 both kept ones, the first low, n=3 the kept one.
        gone = next(iter(set(range(4)) - set(kept)))
        code = gone if removed == 1 else sum(c << 2 * i for i, c in enumerate(kept))
        assert packed.tolist() == [[code]]
        np.testing.assert_array_equal(bits.decode_mask(packed, removed, 1), mask)
        assert bits.decode_columns(packed, removed, 1)[0, 0].tolist() == list(kept)


@pytest.mark.parametrize("removed", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 3, 8, 33])
def test_masks_of_many_groups_come_back(removed: int, groups: int) -> None:
    scores = np.random.default_rng(groups).random((5, 4 * groups))
    mask = mask_from_scores(scores, removed)
    packed = bits.encode_mask(mask, removed)
    assert packed.shape == (5, -(-groups * bits.CODE_BITS[removed] // 8))
    np.testing.assert_array_equal(bits.decode_mask(packed, removed, groups), mask)
    codes = bits.decode_codes(packed, removed, groups)
    assert not bits.invalid_codes(codes, removed).any()
    assert bits.tail_is_zero(packed, groups * bits.CODE_BITS[removed])


def test_only_six_codes_of_n_2_are_valid() -> None:
    codes = np.arange(16, dtype=np.uint8)[None]
    valid = codes[~bits.invalid_codes(codes, 2)]
    assert valid.tolist() == sorted(low | high << 2 for low, high in combinations(range(4), 2))
    for removed in (1, 3):
        assert not bits.invalid_codes(codes[:, :4], removed).any()


@pytest.mark.parametrize("used", range(8, 17))
def test_a_tail_is_zero_or_not(used: int) -> None:
    for set_bit in range(16):
        packed = np.array([[0, 0], divmod(1 << set_bit, 256)[::-1]], np.uint8)
        assert bits.tail_is_zero(packed, used) == (set_bit < used)


def test_columns_are_padded_with_zeros_and_only_where_needed() -> None:
    array = np.ones((2, 6), np.int8)
    assert bits.pad_cols(array, 3) is array
    padded = bits.pad_cols(array, 4)
    assert (padded.shape, int(padded.sum()), int(padded[:, :6].sum())) == ((2, 8), 12, 12)
