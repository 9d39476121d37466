"""The packed form of C4n weights: the order in which a kernel reads them.

A tile is `lanes` rows, one row per 32-bit lane of a vector register; rows beyond the last are zero.
With ``kept = 4 - removed``, ``groups = cols / 4`` and ``tiles = ceil(rows / lanes)``:

float32, float16
    values ``[tiles, groups, kept, lanes]`` (removed = 0: ``[tiles, cols, lanes]``);
    positions ``uint32 [tiles, words, lanes]``, 2-bit codes from the low end, group by group.
int8, int4 (columns padded to units of 64, a window is 16 columns, a chunk is 4 bytes a lane)
    values ``[tiles, units, chunks, 4 * lanes]``. removed > 0: chunk ``kept * window + k``, byte b
    of a lane is the k-th kept weight of group b of the window. removed = 0: chunk c, byte b is
    column 4 c + b of the unit. int4 holds chunk 2 i in the low and 2 i + 1 in the high nibble.
    positions ``uint32 [tiles, units, words, lanes]``: field f of byte b (bits 2 f, 2 f + 1) is the
    code of group b for chunk ``4 * word + f`` (removed = 1: of window f).
    scales ``float16 [tiles, scales, lanes]``, one for each scale group of dense columns.

A code is the position 0..3 of a kept weight; with removed = 1 it is that of the removed one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.ops.spec import EmbeddingSpec, LinearSpec
from tvm_c4n.sparsity.pack import C4nWeight

UNIT = 64
WINDOW = 16
CODES = {0: 0, 1: 1, 2: 2, 3: 1}
"""2-bit codes stored for each group of 4, by the number of removed weights."""

Spec = LinearSpec | EmbeddingSpec


def tiles_of(spec: Spec) -> int:
    """Return the number of row tiles."""
    return -(-spec.rows // spec.lanes)


def units_of(spec: Spec) -> int:
    """Return the units of 64 columns (integer dtypes), a whole number of scale groups."""
    padding = max(UNIT, spec.scale_group)
    return -(-spec.cols // padding) * padding // UNIT


def chunks_of(removed: int) -> int:
    """Return the chunks of a unit."""
    return 16 if removed == 0 else 4 * (4 - removed)


def words_of(removed: int) -> int:
    """Return the position words of a unit (integer dtypes)."""
    return {0: 0, 1: 1, 2: 2, 3: 1}[removed]


def packed_shapes(spec: Spec) -> list[tuple[tuple[int, ...], str]]:
    """Return shape and dtype of the packed arrays, in the order of a kernel's arguments."""
    removed = getattr(spec, "removed", 0)
    tiles, lanes, kept = tiles_of(spec), spec.lanes, 4 - removed
    if spec.dtype in ("int8", "int4"):
        units, chunks = units_of(spec), chunks_of(removed)
        values = (
            ((tiles, units, chunks, 4 * lanes), "int8")
            if spec.dtype == "int8"
            else ((tiles, units, chunks // 2, 4 * lanes), "uint8")
        )
        positions = [((tiles, units, words_of(removed), lanes), "uint32")] if removed else []
        scales = ((tiles, units * UNIT // spec.scale_group, lanes), "float16")
        return [values, *positions, scales]
    if removed == 0:
        return [((tiles, spec.cols, lanes), spec.dtype)]
    groups = spec.cols // 4
    words = -(-groups * CODES[removed] // 16)
    return [
        ((tiles, groups, kept, lanes), spec.dtype),
        ((tiles, words, lanes), "uint32"),
    ]


def _codes(weight: C4nWeight) -> NDArray[np.uint32]:
    """2-bit codes ``(rows, groups, codes)``."""
    positions = weight.unpacked_positions().astype(np.uint32)
    return (
        6 - positions.sum(2, keepdims=True, dtype=np.uint32) if weight.removed == 1 else positions
    )


def _tile(array: NDArray[np.generic], lanes: int) -> NDArray[np.generic]:
    """``(rows, ...)`` to ``(tiles, ..., lanes)``, rows padded with zeros."""
    pad = -array.shape[0] % lanes
    padded = np.pad(array, [(0, pad)] + [(0, 0)] * (array.ndim - 1))
    return np.moveaxis(padded.reshape(-1, lanes, *array.shape[1:]), 1, -1)


def _pack_float(weight: C4nWeight, lanes: int) -> list[NDArray[np.generic]]:
    values = weight.unpacked_values()
    if weight.removed == 0:
        values = values.reshape(weight.rows, -1)[:, : weight.cols]
        return [np.ascontiguousarray(_tile(values, lanes))]
    codes = _codes(weight).reshape(weight.rows, -1)
    fields = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 16))).reshape(weight.rows, -1, 16)
    words = np.bitwise_or.reduce(fields << (2 * np.arange(16, dtype=np.uint32)), axis=2)
    return [np.ascontiguousarray(_tile(a, lanes)) for a in (values, words)]


def _integer_positions(weight: C4nWeight, units: int) -> NDArray[np.uint32]:
    """``(rows, units, words)``, see the module's description."""
    codes = _codes(weight)
    codes = np.pad(codes, ((0, 0), (0, units * UNIT // 4 - codes.shape[1]), (0, 0)))
    # (rows, units, window, byte, code) -> fields in the order of chunks: window, code
    codes = codes.reshape(weight.rows, units, 4, 4, -1).transpose(0, 1, 2, 4, 3)
    codes = codes.reshape(weight.rows, units, -1, 4, 4)  # word, field, byte
    shift = 2 * np.arange(4, dtype=np.uint32)[:, None] + 8 * np.arange(4, dtype=np.uint32)
    return np.asarray(np.bitwise_or.reduce(codes << shift, axis=(3, 4)))


def _pack_integer(weight: C4nWeight, spec: Spec) -> list[NDArray[np.generic]]:
    lanes, units, rows = spec.lanes, units_of(spec), weight.rows
    values = weight.unpacked_values().astype(np.int8)
    if weight.removed == 0:
        flat = values.reshape(rows, -1)[:, : weight.cols]
        flat = np.pad(flat, ((0, 0), (0, units * UNIT - weight.cols)))
        chunks = flat.reshape(rows, units, 16, 4)
    else:
        values = np.pad(values, ((0, 0), (0, units * UNIT // 4 - values.shape[1]), (0, 0)))
        chunks = values.reshape(rows, units, 4, 4, -1).transpose(0, 1, 2, 4, 3)
        chunks = chunks.reshape(rows, units, -1, 4)
    if spec.dtype == "int4":
        nibbles = chunks.view(np.uint8) & 0xF
        chunks = nibbles[:, :, 0::2] | nibbles[:, :, 1::2] << 4
    # (tiles, units, chunks, 4, lanes) -> a lane's four bytes together
    tiled = _tile(chunks, lanes).swapaxes(-1, -2)
    packed = [np.ascontiguousarray(tiled).reshape(*tiled.shape[:3], 4 * lanes)]
    if weight.removed:
        packed.append(np.ascontiguousarray(_tile(_integer_positions(weight, units), lanes)))
    groups = units * UNIT // weight.scale_group
    stored = np.asarray(weight.scales)
    scales = np.pad(stored, ((0, 0), (0, groups - stored.shape[1])))
    return [*packed, np.ascontiguousarray(_tile(scales, lanes))]


def pack(weight: C4nWeight, spec: Spec) -> list[NDArray[np.generic]]:
    """Bring a weight into the packed form that `spec` describes.

    Parameters
    ----------
    weight : C4nWeight
    spec : LinearSpec or EmbeddingSpec
        With ``lanes > 0`` and the weight's rows, cols, removed, dtype and scale group.

    Returns
    -------
    list of ndarray
        Shapes and dtypes as `packed_shapes` says, C-contiguous.
    """
    if spec.dtype in ("int8", "int4"):
        return _pack_integer(weight, spec)
    return _pack_float(weight, spec.lanes)
