"""Fields of a few bits in the stored form: little-endian inside a byte, each row padded to a byte.

A group's mask is handled as one nibble (bit i set = column i of the group kept), so every
conversion between masks and position codes is a look-up in a table of 16 entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.sparsity.pattern import GROUP, kept_of

# Bits of a code: a place 0..3 in a group.
POSITION_BITS = 2
# Codes of a group, by removed: the place of each kept weight; of the removed one where it is one.
CODES_PER_GROUP = (0, 1, 2, 1)
# Bits of one group's codes, by removed.
CODE_BITS = tuple(POSITION_BITS * count for count in CODES_PER_GROUP)
_INVALID = 0xFF


def _code_of_positions(kept_columns: tuple[int, ...], removed: int) -> int:
    """Return the position code of one group; ``kept_columns`` ascend."""
    if removed == 1:
        return next(i for i in range(GROUP) if i not in kept_columns)
    return sum(column << (POSITION_BITS * i) for i, column in enumerate(kept_columns))


def _tables(removed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Build nibble -> code, code -> nibble, code -> kept columns; 0xFF marks what is invalid."""
    kept = kept_of(removed)
    to_code = np.full(16, _INVALID, dtype=np.uint8)
    to_nibble = np.full(16, _INVALID, dtype=np.uint8)
    columns = np.zeros((16, kept), dtype=np.uint8)
    for nibble in range(16):
        kept_columns = tuple(i for i in range(GROUP) if nibble >> i & 1)
        if len(kept_columns) == kept:
            code = _code_of_positions(kept_columns, removed)
            to_code[nibble], to_nibble[code], columns[code] = code, nibble, kept_columns
    return to_code, to_nibble, columns


_TABLES = {removed: _tables(removed) for removed in (1, 2, 3)}


def pad_cols(array: NDArray[Any], multiple: int) -> NDArray[Any]:
    """Append zero columns up to a multiple; the array itself where nothing is missing."""
    missing = -array.shape[1] % multiple
    return np.pad(array, ((0, 0), (0, missing))) if missing else array


def pack_fields(fields: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack fields of 2 to 4 bits: (rows, n) uint8 -> (rows, ceil(n * bits / 8)), first field low.

    Fields of 3 bits cross the ends of bytes. The unused high bits of a row's last byte are zero.
    """
    if 8 % bits:
        each = np.unpackbits(fields[..., None], axis=2, count=bits, bitorder="little")
        return np.packbits(each.reshape(len(fields), -1), axis=1, bitorder="little")
    per_byte = 8 // bits
    padded = pad_cols(fields, per_byte)
    packed = padded[:, 0::per_byte].copy()
    for i in range(1, per_byte):
        packed |= padded[:, i::per_byte] << np.uint8(bits * i)
    return packed


def unpack_fields(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Invert `pack_fields`: (rows, bytes) uint8 -> (rows, count) uint8."""
    if 8 % bits:
        each = np.unpackbits(packed, axis=1, count=count * bits, bitorder="little")
        fields = np.packbits(each.reshape(-1, bits), axis=1, bitorder="little")
        return fields.reshape(len(packed), count)
    per_byte = 8 // bits
    fields = np.empty((packed.shape[0], packed.shape[1] * per_byte), dtype=np.uint8)
    for i in range(per_byte):
        fields[:, i::per_byte] = packed >> np.uint8(bits * i) & np.uint8((1 << bits) - 1)
    return fields[:, :count]


def tail_is_zero(packed: NDArray[np.uint8], used_bits: int) -> bool:
    """Say whether the bits of each row after the first ``used_bits`` are all zero."""
    spare = packed.shape[1] * 8 - used_bits
    return spare == 0 or not (packed[:, -1] >> np.uint8(8 - spare)).any()


def encode_mask(mask: NDArray[np.bool_], removed: int) -> NDArray[np.uint8]:
    """Pack a valid mask: (rows, cols) bool -> (rows, ceil(cols / 4 * bits / 8)) uint8."""
    nibbles = unpack_fields(np.packbits(mask, axis=1, bitorder="little"), 4, mask.shape[1] // GROUP)
    return pack_fields(_TABLES[removed][0][nibbles], CODE_BITS[removed])


def decode_codes(positions: NDArray[np.uint8], removed: int, groups: int) -> NDArray[np.uint8]:
    """Unpack one code per group: (rows, bytes) uint8 -> (rows, groups) uint8."""
    return unpack_fields(positions, CODE_BITS[removed], groups)


def invalid_codes(codes: NDArray[np.uint8], removed: int) -> NDArray[np.bool_]:
    """Mark the codes that name no mask: (rows, groups) bool. Only n=2 has such codes."""
    return np.asarray(_TABLES[removed][1][codes] == _INVALID)


def decode_mask(positions: NDArray[np.uint8], removed: int, groups: int) -> NDArray[np.bool_]:
    """Invert `encode_mask`: the mask (rows, groups * 4) of valid codes."""
    nibbles = _TABLES[removed][1][decode_codes(positions, removed, groups)]
    bits = np.unpackbits(pack_fields(nibbles, 4), axis=1, count=groups * GROUP, bitorder="little")
    return bits.view(np.bool_)


def decode_columns(positions: NDArray[np.uint8], removed: int, groups: int) -> NDArray[np.uint8]:
    """Unpack the columns that stay in each group, ascending: (rows, groups, kept) uint8 in 0..3."""
    return np.asarray(_TABLES[removed][2][decode_codes(positions, removed, groups)])
