"""Integer weights that multiply int8 activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.layout import KBlock, Part
from tvm_c4n.ops.repack.panel import (
    PanelFormat,
    by_panels,
    dense_values,
    pad_groups,
    position_codes,
)
from tvm_c4n.ops.repack.stream import PanelStream, Prefetching
from tvm_c4n.ops.tir import to_float
from tvm_c4n.ops.weight_format import code_in, nibble_in
from tvm_c4n.sparsity import INT_BITS, C4nWeight
from tvm_c4n.sparsity.bits import POSITION_BITS

# Columns of a slice, at least: the codes of one kept weight of each group fill a 32-bit word.
INT_KC = 64
# Columns that one gather picks from: the bytes of a 128-bit register, which gathers work on.
GATHER_WINDOW = 16


class Unpacker(Protocol):
    """What takes weights out of bytes that they share: an instruction set."""

    def unpack_nibbles(self, pairs: Any, high: bool) -> Any:
        """Take a chunk out of the low or high halves of ``uint8`` bytes, as ``int8``."""

    def unpack_half(self, both: Any, odd: Any) -> Any:
        """Take a chunk out of `PairedPanel`'s ``uint8`` bytes, as ``int8``.

        That of an even panel lies in the low halves with an offset, that of an odd one in the high.
        """

    def unpack_field(self, pieces: list[tuple[Any, int, int]]) -> Any:
        """Take a chunk out of bits of ``uint8`` bytes, as ``int8``.

        A piece is the bytes, the lowest bit and the number of bits, from the high bits down.
        """


@dataclass(frozen=True)
class IntPanel(PanelFormat):
    """int8 or int4, scaled by groups of columns.

    A k-block is whole slices of `slice_cols` columns and whole scale groups. A slice is windows of
    `GATHER_WINDOW` columns, a chunk is four bytes per row that one dot product uses.

    positions ``uint32 [words, MR]`` in a slice
        Field f of byte b (bits 2 f and 2 f + 1) is the code of group b of the window for chunk
        ``4 * word + f``; with removed = 1, of group b of window f.
    values ``[chunks, MR, 4]`` in a slice
        removed > 0: byte b of chunk ``kept * window + k`` is the k-th kept weight of group b of the
        window. removed = 0: byte b of chunk c is column ``4 c + b`` of the slice. int4 holds chunk
        2 i in the low and 2 i + 1 in the high four bits of byte vector i.
    scales ``float16 [scale groups, MR]`` in the k-block
    """

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return dtype in INT_BITS

    @property
    def slice_cols(self) -> int:
        """Columns of a slice."""
        return INT_KC

    @property
    def windows(self) -> int:
        """Windows of a slice."""
        return self.slice_cols // GATHER_WINDOW

    @property
    def words(self) -> int:
        """Position words of a slice: a word has the codes of four chunks."""
        return self.windows * self.codes_per_group // 4

    @property
    def chunks_per_window(self) -> int:
        """Chunks that a window's weights fill."""
        return self.kept

    @property
    def chunks(self) -> int:
        """Chunks of a slice."""
        return self.windows * self.chunks_per_window

    def chunk_of(self, window: Any, k: Any) -> Any:
        """Return the number in its slice of the k-th chunk of a window."""
        return window * self.chunks_per_window + k

    @property
    def chunks_per_byte(self) -> int:
        """Chunks that share the bytes of a vector."""
        return 2 if self.dtype == "int4" else 1

    @property
    def byte_vectors(self) -> int:
        """Vectors of a slice that have four bytes for each row: the chunks' bytes."""
        return self.chunks // self.chunks_per_byte

    @property
    def k_block(self) -> KBlock:
        kc = max(self.slice_cols, self.scale_group)
        return KBlock(
            kc,
            self.byte_vectors * self.mr * 4,
            position_bytes=self.words * self.mr * 4,
            scale_bytes=kc // self.scale_group * self.mr * 2,
            slices=kc // self.slice_cols,
        )

    # Packing.

    def parts(self, weight: C4nWeight) -> list[NDArray[np.uint8]]:
        layout, rows = self.layout, self.rows
        by_slice = self._by_slice(weight, layout.k_blocks * layout.k_block.slices)
        packed = np.concatenate(by_slice, axis=2).reshape(layout.bundles, layout.k_blocks, -1)
        stored = np.asarray(weight.scales)
        groups = layout.padded_cols // self.scale_group
        scales = np.pad(stored, ((0, 0), (0, groups - stored.shape[1])))
        return [packed, by_panels(scales.reshape(rows, layout.k_blocks, -1, 1), layout)]

    def _by_slice(self, weight: C4nWeight, slices: int) -> list[NDArray[np.uint8]]:
        """Return the parts of all slices in order: ``(bundles, slices, bytes)`` each."""
        parts = []
        if self.removed:
            words = self._position_words(weight, slices).reshape(self.rows, slices, -1, 1)
            parts.append(by_panels(words, self.layout))
        parts.append(by_panels(self._chunk_bytes(weight, slices), self.layout))
        return parts

    def _position_words(self, weight: C4nWeight, slices: int) -> NDArray[np.uint32]:
        """Return ``(rows, slices, words)``."""
        codes = position_codes(weight, slices * self.slice_cols // 4)
        # (rows, slices, window, byte, code) -> fields in the order of chunks: window, code
        codes = codes.reshape(self.rows, slices, self.windows, 4, -1).transpose(0, 1, 2, 4, 3)
        codes = codes.reshape(self.rows, slices, -1, 4, 4)  # word, field, byte
        fields, bytes_ = np.arange(4, dtype=np.uint32)[:, None], np.arange(4, dtype=np.uint32)
        shifts = POSITION_BITS * fields + 8 * bytes_
        return np.asarray(np.bitwise_or.reduce(codes << shifts, axis=(3, 4)))

    def _chunk_bytes(self, weight: C4nWeight, slices: int) -> NDArray[np.uint8]:
        """Return ``(rows, slices, byte vectors, 4)``."""
        if self.removed == 0:
            flat = dense_values(weight, slices * self.slice_cols).astype(np.int8)
            chunks = flat.reshape(self.rows, slices, self.chunks, 4)
        else:
            values = weight.unpacked_values().astype(np.int8)
            values = pad_groups(values, slices * self.slice_cols // 4)
            values = values.reshape(self.rows, slices, self.windows, 4, self.kept)
            chunks = values.transpose(0, 1, 2, 4, 3).reshape(self.rows, slices, self.chunks, 4)
        return self._bytes_of(chunks)

    def _bytes_of(self, chunks: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Return the byte vectors of the chunks of slices: both ``(rows, slices, count, 4)``."""
        if self.chunks_per_byte == 1:
            return chunks.view(np.uint8)
        nibbles = chunks.view(np.uint8) & 0xF
        return np.asarray(nibbles[:, :, 0::2] | nibbles[:, :, 1::2] << 4)

    # Reading one element.

    def _place(self, group: Any) -> tuple[Any, Any, Any]:
        """Return the k-block of a group, its slice there, and its number in the slice."""
        per_k_block, per_slice = self.layout.kc // 4, self.slice_cols // 4
        inside = group % per_k_block
        return group // per_k_block, inside // per_slice, inside % per_slice

    def value(self, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
        k_block, piece, inside = self._place(group)
        if self.removed == 0:
            chunk, byte = inside, k
        else:
            chunk, byte = inside // 4 * self.kept + k, inside % 4
        return self._value(weights, row, k_block, piece * self.chunks + chunk, byte)

    def _value(self, weights: Sequence[Any], row: Any, k_block: Any, chunk: Any, byte: Any) -> Any:
        """Read one of a row's four weights of a chunk, as int32."""
        reader = self.row(weights, row)
        raw = reader.byte(k_block, Part.VALUES, chunk // self.chunks_per_byte, byte)
        if self.chunks_per_byte == 2:
            return nibble_in(raw, chunk % 2)
        return T.cast(T.reinterpret("int8", raw), "int32")

    def code(self, weights: Sequence[Any], row: Any, group: Any, index: int) -> Any:
        k_block, piece, inside = self._place(group)
        number = inside // 4 * self.codes_per_group + index
        word = piece * self.words + number // 4
        byte = self.row(weights, row).byte(k_block, Part.POSITIONS, word, inside % 4)
        return code_in(byte, number % 4)

    def scale(self, weights: Sequence[Any], row: Any, s: Any) -> Any:
        per_k_block = self.layout.kc // self.scale_group
        reader = self.row(weights, row)
        return reader.element(s // per_k_block, Part.SCALES, s % per_k_block, "float16")

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> IntStream:
        return IntStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class IntStream(PanelStream):
    """Slices of integer weights, and their scales."""

    format: IntPanel

    def slice(self, k_block: Any, number: Any) -> IntSlice:
        """Return a slice of a k-block, to be read from front to end."""
        return IntSlice(self, k_block, number)

    def scales(self, k_block: Any, index: Any, r: int) -> Any:
        """Read the scales of scale group `index` of a k-block as float32."""
        found = self.vector(k_block, Part.SCALES, index, r, "float16")
        return T.bind(to_float(found, self.format.mr))


@dataclass(frozen=True)
class IntSlice:
    """A slice while a kernel reads it: positions, then chunk by chunk of all panels."""

    stream: IntStream
    k_block: Any
    number: Any
    # By panel: the last bytes read, while only the chunk in their low halves has been used.
    _pairs: dict[int, Any] = field(default_factory=dict)
    # By word and panel.
    _words: dict[tuple[int, int], Any] = field(default_factory=dict)
    # By number in the slice and panel: byte vectors that several chunks share, in any order.
    _read: dict[tuple[int, int], Any] = field(default_factory=dict)

    def word(self, number: int, r: int) -> Any:
        """Read a panel's position word of a number: a uint32 vector, read once."""
        if (number, r) not in self._words:
            index = self.number * self.stream.format.words + number
            found = self.stream.vector(self.k_block, Part.POSITIONS, index, r, "uint32")
            self._words[number, r] = T.bind(found)
        return self._words[number, r]

    def _vector(self, number: int, r: int) -> Any:
        """Read a byte vector of a panel: a ``uint8`` vector, read once."""
        if (number, r) not in self._read:
            index = self.number * self.stream.format.byte_vectors + number
            found = self.stream.vector(self.k_block, Part.VALUES, index, r, "uint8", 4)
            self._read[number, r] = T.bind(found)
        return self._read[number, r]

    def chunk(self, chunk: int, r: int, unpacker: Unpacker) -> Any:
        """Read a panel's chunk as int8; chunks are read in ascending order.

        Parameters
        ----------
        chunk : int
        r : int
            The panel.
        unpacker : Unpacker
        """
        fmt = self.stream.format
        if fmt.chunks_per_byte == 1:
            index = self.number * fmt.chunks + chunk
            return self.stream.vector(self.k_block, Part.VALUES, index, r, "int8", 4)
        if chunk % 2 == 0:
            index = self.number * fmt.byte_vectors + chunk // 2
            pairs = self.stream.vector(self.k_block, Part.VALUES, index, r, "uint8", 4)
            self._pairs[r] = T.bind(pairs)
        return unpacker.unpack_nibbles(self._pairs[r], chunk % 2 == 1)
