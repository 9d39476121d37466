"""The packed form of C4n weights: one stream of bytes in the order in which a kernel reads it.

A tile is `lanes` rows, one row per 32-bit lane of a vector register. A block is one, two or four
tiles that a kernel works on at once; rows beyond the last are zero. A record is `span` columns of a
block: unit by unit their positions and their values, then the scales of all, each of them vector by
vector, and one vector of every tile before the next. Only integers have records of more than one
unit. The array is ``uint8 [blocks, records, record bytes]``: a kernel reads it from front to end,
which is what memory, its pages and the prefetchers are fastest at.

With ``kept = 4 - removed``, the vectors of one tile in a record are, slowest axis first:

float32, float16 (span: 8 columns for removed = 0, else the groups whose codes fill 32 bits)
    values ``[groups, kept, lanes]`` (removed = 0: ``[8, lanes]``);
    positions ``uint32 [lanes]``, 2-bit codes from the low end, group by group.
int8, removed = 0, at most `NARROW` columns (span: a scale group, or all columns if they are fewer)
    values ``[span, lanes]``; scales ``float16 [lanes]``.
other int8, int4 (span: whole units of 64 columns and whole scale groups)
    values ``[chunks, lanes, 4]`` a unit; a window is 16 columns, a chunk four bytes a lane.
    removed > 0: chunk ``kept * window + k``, byte b is the k-th kept weight of group b of the
    window. removed = 0: chunk c, byte b is column 4 c + b of the unit. int4 holds chunk 2 i in the
    low and 2 i + 1 in the high nibble. positions ``uint32 [words, lanes]`` a unit: field f of byte
    b (bits 2 f, 2 f + 1) is the code of group b for chunk ``4 * word + f`` (removed = 1: of window
    f). scales ``float16 [scale groups, lanes]``.

A code is the position 0..3 of a kept weight; with removed = 1 it is that of the removed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.ops.spec import EmbeddingSpec, LinearSpec, is_weight_only
from tvm_c4n.sparsity import C4nWeight

UNIT = 64
WINDOW = 16
COLUMNS = 8
"""Columns of a record of dense float weights; of one with int8 weights alone, a multiple of it."""
CODES = {0: 0, 1: 1, 2: 2, 3: 1}
"""2-bit codes stored for each group of 4, by the number of removed weights."""
SHARES = 8
"""Blocks that even a small matrix is cut into, with fewer tiles a block: cores can share it."""

Spec = LinearSpec | EmbeddingSpec


@dataclass(frozen=True)
class Layout:
    """Sizes of a packed weight.

    Attributes
    ----------
    lanes : int
        Rows of a tile.
    tiles : int
        Tiles of a block.
    blocks, records : int
        Shape of the array; a record is `span` columns.
    span : int
    units : int
        Units of a record.
    positions, values : int
        Bytes of one tile in a unit.
    scales : int
        Bytes of one tile in a record.
    """

    lanes: int
    tiles: int
    blocks: int
    records: int
    span: int
    units: int
    positions: int
    values: int
    scales: int

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return self.units * self.unit_bytes + self.tiles * self.scales

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit: positions and values."""
        return self.tiles * (self.positions + self.values)

    def place(self, part: int, index: Any, tile: Any, lane_bytes: int) -> Any:
        """Return where in a record a vector of a tile starts.

        Parameters
        ----------
        part : int
            0 for positions, 1 for values, 2 for scales.
        index : int or PrimExpr
            Of the vector, among those of the part and tile in the record.
        tile : int or PrimExpr
            In the block.
        lane_bytes : int
            Bytes that the vector has for each lane.
        """
        vector = self.lanes * lane_bytes
        if part == 2:
            return self.units * self.unit_bytes + (index * self.tiles + tile) * vector
        count = (self.positions, self.values)[part] // vector
        start = index // count * self.unit_bytes + part * self.tiles * self.positions
        return start + (index % count * self.tiles + tile) * vector

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the packed array."""
        return self.blocks, self.records, self.record_bytes

    @property
    def padded_cols(self) -> int:
        """Columns that the records cover."""
        return self.records * self.span


@lru_cache
def _layout(rows: int, cols: int, removed: int, dtype: str, scale_group: int, lanes: int) -> Layout:
    count = -(-rows // lanes)
    tiles = next(t for t in (4, 2, 1) if count >= SHARES * t or t == 1)
    kept, codes, units = 4 - removed, CODES[removed], 1
    if is_weight_only(cols, removed, dtype):
        span = min(scale_group, -(-cols // COLUMNS) * COLUMNS)
        values, positions, scales = span * lanes, 0, 2 * lanes
    elif dtype in ("int8", "int4"):
        span = max(UNIT, scale_group)
        units = span // UNIT
        bits = 8 if dtype == "int8" else 4
        values = UNIT * kept // 4 * lanes * bits // 8
        positions = words_of(removed) * lanes * 4
        scales = span // scale_group * lanes * 2
    else:
        span = 4 * (16 // codes) if removed else COLUMNS
        values = span * kept // 4 * lanes * np.dtype(dtype).itemsize
        positions = lanes * 4 if removed else 0
        scales = 0
    blocks, records = -(-count // tiles), -(-cols // span)
    return Layout(lanes, tiles, blocks, records, span, units, positions, values, scales)


def layout_of(spec: Spec) -> Layout:
    """Return the layout of an operator's weights; where ``lanes == 0``, of a single lane."""
    removed, lanes = getattr(spec, "removed", 0), spec.lanes or 1
    return _layout(spec.rows, spec.cols, removed, spec.dtype, spec.scale_group, lanes)


def chunks_of(removed: int) -> int:
    """Return the chunks of a unit."""
    return 16 if removed == 0 else 4 * (4 - removed)


def words_of(removed: int) -> int:
    """Return the position words of a unit (integer dtypes)."""
    return {0: 0, 1: 1, 2: 2, 3: 1}[removed]


def _codes(weight: C4nWeight) -> NDArray[np.uint32]:
    """2-bit codes ``(rows, groups, codes)``."""
    positions = weight.unpacked_positions().astype(np.uint32)
    return (
        6 - positions.sum(2, keepdims=True, dtype=np.uint32) if weight.removed == 1 else positions
    )


def _blocked(array: NDArray[np.generic], layout: Layout) -> NDArray[np.uint8]:
    """``(rows, parts, n, size)`` to bytes ``(blocks, parts, n * tiles * lanes * size)``."""
    rows, parts = array.shape[:2]
    full = layout.blocks * layout.tiles * layout.lanes
    padded = np.pad(array, [(0, full - rows)] + [(0, 0)] * (array.ndim - 1))
    split = padded.reshape(layout.blocks, layout.tiles, layout.lanes, *array.shape[1:])
    ordered = np.ascontiguousarray(split.transpose(0, 3, 4, 1, 2, 5))
    return ordered.reshape(layout.blocks, parts, -1).view(np.uint8)


def _pack_float(weight: C4nWeight, layout: Layout) -> list[NDArray[np.uint8]]:
    values = weight.unpacked_values()
    if weight.removed == 0:
        flat = values.reshape(weight.rows, -1)[:, : weight.cols]
        flat = np.pad(flat, ((0, 0), (0, layout.padded_cols - weight.cols)))
        return [_blocked(flat.reshape(weight.rows, layout.records, COLUMNS, 1), layout)]
    groups = layout.padded_cols // 4
    values = np.pad(values, ((0, 0), (0, groups - values.shape[1]), (0, 0)))
    codes = _codes(weight)
    codes = np.pad(codes, ((0, 0), (0, groups - codes.shape[1]), (0, 0)))
    fields = codes.reshape(weight.rows, layout.records, 16)
    words = np.bitwise_or.reduce(fields << (2 * np.arange(16, dtype=np.uint32)), axis=2)
    values = values.reshape(weight.rows, layout.records, -1, 1)
    return [_blocked(a, layout) for a in (words[:, :, None, None], values)]


def _integer_positions(weight: C4nWeight, units: int) -> NDArray[np.uint32]:
    """``(rows, units, words)``, see the module's description."""
    codes = _codes(weight)
    codes = np.pad(codes, ((0, 0), (0, units * UNIT // 4 - codes.shape[1]), (0, 0)))
    # (rows, units, window, byte, code) -> fields in the order of chunks: window, code
    codes = codes.reshape(weight.rows, units, 4, 4, -1).transpose(0, 1, 2, 4, 3)
    codes = codes.reshape(weight.rows, units, -1, 4, 4)  # word, field, byte
    shift = 2 * np.arange(4, dtype=np.uint32)[:, None] + 8 * np.arange(4, dtype=np.uint32)
    return np.asarray(np.bitwise_or.reduce(codes << shift, axis=(3, 4)))


def _integer_chunks(weight: C4nWeight, units: int) -> NDArray[np.uint8]:
    """``(rows, units, chunks, 4)``; int4 two chunks in a byte."""
    rows, values = weight.rows, weight.unpacked_values().astype(np.int8)
    if weight.removed == 0:
        flat = values.reshape(rows, -1)[:, : weight.cols]
        flat = np.pad(flat, ((0, 0), (0, units * UNIT - weight.cols)))
        chunks = flat.reshape(rows, units, 16, 4)
    else:
        values = np.pad(values, ((0, 0), (0, units * UNIT // 4 - values.shape[1]), (0, 0)))
        chunks = values.reshape(rows, units, 4, 4, -1).transpose(0, 1, 2, 4, 3)
        chunks = chunks.reshape(rows, units, -1, 4)
    if weight.dtype == "int8":
        return chunks.view(np.uint8)
    nibbles = chunks.view(np.uint8) & 0xF
    return np.asarray(nibbles[:, :, 0::2] | nibbles[:, :, 1::2] << 4)


def _pack_columns(weight: C4nWeight, layout: Layout) -> list[NDArray[np.uint8]]:
    flat = weight.unpacked_values().astype(np.int8).reshape(weight.rows, -1)[:, : weight.cols]
    flat = np.pad(flat, ((0, 0), (0, layout.padded_cols - weight.cols)))
    values = flat.reshape(weight.rows, layout.records, layout.span, 1)
    return [_blocked(values, layout), _blocked(np.asarray(weight.scales)[:, :, None, None], layout)]


def _pack_integer(weight: C4nWeight, layout: Layout) -> list[NDArray[np.uint8]]:
    rows, records = weight.rows, layout.records
    units = records * layout.units
    by_unit = []
    if weight.removed:
        words = _integer_positions(weight, units).reshape(rows, units, -1, 1)
        by_unit.append(_blocked(words, layout))
    chunks = _integer_chunks(weight, units).reshape(rows, units, -1, 4)
    by_unit.append(_blocked(chunks, layout))
    packed = np.concatenate(by_unit, axis=2).reshape(layout.blocks, records, -1)
    stored = np.asarray(weight.scales)
    groups = layout.padded_cols // weight.scale_group
    scales = np.pad(stored, ((0, 0), (0, groups - stored.shape[1])))
    return [packed, _blocked(scales.reshape(rows, records, -1, 1), layout)]


def repack(weight: C4nWeight, spec: Spec) -> NDArray[np.uint8]:
    """Bring a weight into the packed form that `spec` describes.

    Parameters
    ----------
    weight : C4nWeight
    spec : LinearSpec or EmbeddingSpec
        With ``lanes > 0`` and the weight's rows, cols, removed, dtype and scale group.

    Returns
    -------
    ndarray of uint8
        Its shape is that of `layout_of`, C-contiguous.
    """
    layout = layout_of(spec)
    if is_weight_only(spec.cols, weight.removed, spec.dtype):
        parts = _pack_columns(weight, layout)
    elif spec.dtype in ("int8", "int4"):
        parts = _pack_integer(weight, layout)
    else:
        parts = _pack_float(weight, layout)
    return np.concatenate(parts, axis=2)
