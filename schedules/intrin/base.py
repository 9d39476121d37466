"""The interface between the kernels and the instruction sets.

All vectors have one 32-bit lane per row of a tile; a byte vector has four bytes for each lane.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias

from tvm_c4n._tvm import T
from tvm_c4n.ops.isa import Isa
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp

Correction: TypeAlias = Literal["by weights", "by activations"] | None
"""What the correction of `Intrinsics.dot` follows from."""
GROUP_BYTES = 0x0C080400
"""In a lane: where the four groups of a 16-byte window start."""


def repeat(vector: Any, length: int, times: int) -> Any:
    """Repeat a vector of `length` elements (a broadcast load once LLVM has seen it)."""
    if times == 1:
        return vector
    return T.Shuffle([vector] * times, [T.int32(i) for i in range(length * times)])


class Intrinsics(ABC):
    """Gathers and dot products of one instruction set."""

    isa: Isa
    corrected: Correction = None
    """What must be added up with `correction`, because `dot` multiplies by more than asked for:
    ``x + 128`` instead of x, or the weight and a constant."""
    sum_dtype = "int32"
    """Of the sums that `dot` adds to; `total` makes int32 of them."""
    shift_dtype = "int32"
    """Of the sums that `correction` adds to."""
    stretch: int | None = None
    """Columns after which sums must be taken out; None: they hold a scale group of any length."""
    fold = 1 / 16
    """What sums of int4 weights are multiplied by, see `nibbles`."""

    @property
    def lanes(self) -> int:
        """32-bit lanes of a vector."""
        return self.isa.lanes

    @property
    def bytes_type(self) -> str:
        """Type of a vector of bytes."""
        return f"int8x{4 * self.lanes}"

    def of(self, spec: LinearSpec) -> Intrinsics:
        """Return the variant that multiplies an operator's weights."""
        return self

    @property
    def ints_type(self) -> str:
        """Type of a vector of sums."""
        return f"int32x{self.lanes}"

    def prepare_x(self, x: Any) -> Any:
        """Bring a vector of activations into the form that `dot` wants."""
        return x

    def window(self, x: Any, token: Any, start: Any) -> Any:
        """Read the 16 activations from column `start` on, for `pick`."""
        loaded = repeat(x[token, ramp(start, 16)], 16, self.lanes // 4)
        return T.bind(self.prepare_x(loaded))

    def quad(self, x: Any, token: Any, start: Any) -> Any:
        """Read four activations into each lane."""
        word = T.reinterpret("int32", x[token, ramp(start, 4)])
        spread = T.reinterpret(self.bytes_type, T.broadcast(word, self.lanes))
        return T.bind(self.prepare_x(spread))

    def codes(self, words: Any, field: int) -> Any:
        """Extract the 2-bit codes number `field` of each byte of ``uint32`` words."""
        shifted = words >> T.broadcast(T.uint32(2 * field), self.lanes)
        return shifted & T.broadcast(T.uint32(0x03030303), self.lanes)

    def index(self, words: Any, field: int) -> Any:
        """Byte indices into a window from the positions number `field` of each byte."""
        group = T.broadcast(T.uint32(GROUP_BYTES), self.lanes)
        return T.reinterpret(self.bytes_type, self.codes(words, field) | group)

    @abstractmethod
    def pick(self, window: Any, index: Any) -> Any:
        """Gather bytes of a window by byte indices 0..15."""

    def prepare_w(self, w: Any) -> Any:
        """Compute once what several `dot` calls need of a vector of weights."""
        return T.bind(w)

    def nibbles(self, packed: Any, high: bool) -> Any:
        """Take a chunk of int4 weights out of ``uint8`` pairs, as ``int8``, times 1 / `fold`."""
        width = 4 * self.lanes
        if high:
            found = packed & T.broadcast(T.uint8(0xF0), width)
        else:
            found = packed << T.broadcast(T.uint8(4), width)
        return T.reinterpret(self.bytes_type, found)

    @abstractmethod
    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """Add the dot product of four bytes to each 32-bit lane of sums; |x| <= 127."""

    def correction(self, acc: Any, operand: Any) -> Any:
        """Add up weights or activations for `total` (only where `corrected`)."""
        raise AssertionError(f"{self.isa.name} needs no correction")

    def total(self, sums: Any, shift: Any) -> Any:
        """Return the int32 sum of each lane; `shift` is what `correction` added up, if anything."""
        return sums - shift if self.corrected else sums

    @abstractmethod
    def pick_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """Gather one of the four float32 activations from `start` on for each lane.

        `code` is ``uint32`` 0..3 a lane.
        """
