"""Integer weights of three and two bits: fields of bytes, one of several chunks in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.int_panel import (
    GATHER_WINDOW,
    INT_KC,
    IntPanel,
    IntSlice,
    IntStream,
    Unpacker,
)
from tvm_c4n.ops.repack.layout import Part
from tvm_c4n.ops.repack.stream import Prefetching
from tvm_c4n.ops.weight_format import code_of_field
from tvm_c4n.sparsity import INT_BITS
from tvm_c4n.sparsity.weight import field_of_codes


class Piece(NamedTuple):
    """Bits of a field: those from `low` on of the bytes of a vector of the unit."""

    vector: int
    low: int
    bits: int


class Unit(NamedTuple):
    """Chunks that share byte vectors.

    Attributes
    ----------
    vectors : int
    pieces : tuple of tuple of Piece
        Of each chunk, from the field's high bits down.
    """

    vectors: int
    pieces: tuple[tuple[Piece, ...], ...]


def _whole(vector: int, low: int, bits: int) -> tuple[Piece, ...]:
    return (Piece(vector, low, bits),)


# Eight chunks of three bits fill three vectors. Two fields of each byte are whole, which takes one
# or two instructions; the two bits that are left of each make up the last two chunks.
_UNITS = {
    "int3": Unit(
        3,
        (
            *(_whole(vector, low, 3) for vector in range(3) for low in (5, 2)),
            (Piece(0, 0, 2), Piece(2, 0, 1)),
            (Piece(1, 0, 2), Piece(2, 1, 1)),
        ),
    ),
    "int2": Unit(1, tuple(_whole(0, low, 2) for low in (6, 4, 2, 0))),
}


@dataclass(frozen=True)
class FieldPanel(IntPanel):
    """int3 or int2: as `IntPanel`, but for the bytes of chunks.

    The chunks of a slice go in units, `_UNITS`, whose byte vectors ``[vectors, MR, 4]`` follow each
    other. A slice has twice the columns where half of them fill no whole units.
    """

    @staticmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        return dtype in _UNITS

    @property
    def unit(self) -> Unit:
        """How chunks share bytes."""
        return _UNITS[self.dtype]

    @property
    def slice_cols(self) -> int:
        whole = INT_KC // GATHER_WINDOW * self.kept % len(self.unit.pieces) == 0
        return INT_KC if whole else 2 * INT_KC

    @property
    def byte_vectors(self) -> int:
        return self.chunks // len(self.unit.pieces) * self.unit.vectors

    def _bytes_of(self, chunks: NDArray[np.int8]) -> NDArray[np.uint8]:
        bits, unit = INT_BITS[self.dtype], self.unit
        fields = field_of_codes(chunks, bits).reshape(*chunks.shape[:2], -1, len(unit.pieces), 4)
        vectors = np.zeros((*fields.shape[:3], unit.vectors, 4), np.uint8)
        for number, pieces in enumerate(unit.pieces):
            rest = bits
            for piece in pieces:
                rest -= piece.bits
                part = fields[..., number, :] >> rest & (1 << piece.bits) - 1
                vectors[..., piece.vector, :] |= (part << piece.low).astype(np.uint8)
        return vectors.reshape(*chunks.shape[:2], self.byte_vectors, 4)

    # Reading one element.

    def _value(self, weights: Sequence[Any], row: Any, k_block: Any, chunk: Any, byte: Any) -> Any:
        unit = self.unit
        number = chunk % len(unit.pieces)
        first = chunk // len(unit.pieces) * unit.vectors
        reader = self.row(weights, row)

        def of_number(values: list[int]) -> Any:
            """Return the value of the chunk's number."""
            options = list(enumerate(values))
            return reduce(
                lambda rest, option: T.Select(number == option[0], T.int32(option[1]), rest),
                options[1:],
                T.int32(values[0]),
            )

        def bits_of(place: int) -> Any:
            """Read a chunk's piece, 0 where it has none of this place."""
            none = Piece(0, 0, 0)
            pieces = [p[place] if place < len(p) else none for p in unit.pieces]
            vector = first + of_number([p.vector for p in pieces])
            found = T.cast(reader.byte(k_block, Part.VALUES, vector, byte), "int32")
            shifted = found >> of_number([p.low for p in pieces])
            return shifted & of_number([(1 << p.bits) - 1 for p in pieces])

        total = bits_of(0)
        for place in range(1, max(len(pieces) for pieces in unit.pieces)):
            bits = [p[place].bits if place < len(p) else 0 for p in unit.pieces]
            total = (total << of_number(bits)) | bits_of(place)
        return code_of_field(total, INT_BITS[self.dtype])

    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> FieldStream:
        return FieldStream(self, buffer, bundle, panel, how)


@dataclass(frozen=True)
class FieldStream(IntStream):
    """Slices of weights of few bits, and their scales."""

    format: FieldPanel

    def slice(self, k_block: Any, number: Any) -> FieldSlice:
        """Return a slice of a k-block, to be read from front to end."""
        return FieldSlice(self, k_block, number)


@dataclass(frozen=True)
class FieldSlice(IntSlice):
    """A slice while a kernel reads it: each byte vector of a panel once."""

    stream: FieldStream

    def chunk(self, chunk: int, r: int, unpacker: Unpacker) -> Any:
        """Read a panel's chunk as int8, see `IntSlice.chunk`."""
        fmt = self.stream.format
        first = chunk // len(fmt.unit.pieces) * fmt.unit.vectors
        pieces = fmt.unit.pieces[chunk % len(fmt.unit.pieces)]
        found = [(self._vector(first + p.vector, r), p.low, p.bits) for p in pieces]
        return unpacker.unpack_field(found)
