"""NEON with dot product (cortex-a76 and later): tbl gathers, sdot multiplies and adds."""

from __future__ import annotations

from math import log2
from typing import Any

from schedules.intrin.base import GROUP_BYTES, ODD_BITS, Intrinsics
from schedules.intrin.indices import Indices
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import NEON, NEON_I8MM
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp
from tvm_c4n.sparsity import FIELD_BITS

# In a lane: bytes 0 to 3. In a turned window they are the groups.
LANE_BYTES = 0x03020100


class Neon(Intrinsics):
    """128-bit vectors, 4 rows per panel."""

    isa = NEON
    sums = 24
    # Neither these nor prefetches were ever measured on Arm.
    gemv_panels = 4
    # With one chain of indices LLVM's scheduler makes all of them first, and what they gather waits
    # on the stack (docs/decisions/arm-registers.md).
    panels_at_once = 4
    multiplies_both = True
    ssd_tokens = 4

    def micro_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        # 12 sums, of 32 registers.
        return 2, 6

    def for_weights(self, spec: LinearSpec) -> Intrinsics:
        return NeonFields(spec) if spec.dtype in FIELD_BITS else self

    def opaque(self, bundle: Any) -> Any:
        # The offset of half a matrix exceeds what a load can add to its address by itself: LLVM
        # kept an address for each load.
        held = T.reinterpret("float32x4", T.broadcast(T.cast(bundle, "int32"), 4))
        held = T.reinterpret("int32x4", _fence("float32x4", held))
        # As a vector: TVM takes no number that turns out to be 0 for a float.
        return T.bind(T.Shuffle([T.bind(held)], [T.int32(0)]))

    def quads(self, x: Any, token: Any, start: Any, count: int) -> list[Any]:
        # sdot multiplies by a lane of a vector: one load for four.
        words = T.bind(T.reinterpret("int32x4", x[token, ramp(start, 16)]))
        lanes = [T.Shuffle([words], [T.int32(k)] * 4) for k in range(count)]
        return [T.bind(T.reinterpret("int8x16", lane)) for lane in lanes]

    def gather(self, window: Any, index: Any) -> Any:
        return intrinsic(self.bytes_type, "llvm.aarch64.neon.tbl1", window, index)

    def indices(self) -> Indices:
        return InsertedIndices(self)

    def turned(self, window: Any) -> Any:
        # Byte 4 p + g is activation p of group g.
        order = T.ramp(T.uint32(GROUP_BYTES), T.uint32(0x01010101), 4)
        return T.bind(self.gather(window, T.reinterpret("int8x16", order)))

    def codes(self, words: Any, field: int) -> Any:
        # Shifts of bytes need no mask for the highest field.
        if field < 3:
            return super().codes(words, field)
        high = T.reinterpret("uint8x16", words) >> T.broadcast(T.uint8(6), 16)
        return T.reinterpret("uint32x4", high)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        return intrinsic(self.ints_type, "llvm.aarch64.neon.sdot", acc, w, x)

    def sum_of_lanes(self, sums: Any) -> Any:
        twos = T.bind(intrinsic(self.ints_type, "llvm.aarch64.neon.addp", sums, sums))
        return T.bind(intrinsic(self.ints_type, "llvm.aarch64.neon.addp", twos, twos))

    def dot_pairs(self, acc: Any, x: Any, w: Any) -> Any:
        return intrinsic(self.ints_type, "llvm.aarch64.neon.smmla", acc, x, w)

    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        # A code becomes the indices of the four bytes of its float.
        four = T.reinterpret("int8x16", x[token, ramp(start, 4)])
        scale, first = (T.broadcast(T.uint32(v), 4) for v in (0x04040404, LANE_BYTES))
        index = T.reinterpret("int8x16", code * scale + first)
        return T.reinterpret(
            "float32x4", intrinsic("int8x16", "llvm.aarch64.neon.tbl1", four, index)
        )


class NeonI8mm(Neon):
    """With products of small matrices: cores since 2021."""

    isa = NEON_I8MM
    multiplies_pairs = True


class NeonFields(Neon):
    """Weights of few bits: 1/16 or 1/32 of their sums costs nothing where they become floats."""

    unrolled_slices = 2
    panels_at_once = 1

    def __init__(self, spec: LinearSpec) -> None:
        self._fraction = round(-log2(super().output_scale(spec.dtype)))
        if spec.removed == 1 and spec.dtype == "int4":
            self.panels_at_once = 2
        elif spec.removed == 1:
            # Byte vectors that many chunks share, and words: those of four panels, beside shifted
            # windows, are more than registers hold.
            self.gemv_panels = 2

    def unpack_field(self, pieces: list[tuple[Any, int, int]]) -> Any:
        # As the default does, but with shifts of bytes, which let bits fall out at the top, and
        # insertions: fewer masks, and fewer registers that hold them.
        vector, low, bits = pieces[0]
        field = _shifted_left(vector, 8 - low - bits)
        if len(pieces) > 1:
            vector, low, more = pieces[1]
            below = _shifted_left(vector, 8 - low - more)
            field = intrinsic("uint8x16", "llvm.aarch64.neon.vsri", field, below, T.int32(bits))
            bits += more
        words, place = T.reinterpret("uint32x4", field), 8 - bits
        mask = 0x100 - (1 << place)
        if bits == ODD_BITS:
            half, inside = (_hidden(self.every_byte(v)) for v in (1 << place - 1, mask))
            words = half ^ ((half ^ words) & inside)
        elif low:
            words = words & self.every_byte(mask)
        return T.reinterpret("int8x16", words)

    def output_scale(self, dtype: str) -> float:
        return 1.0

    def to_float(self, total: Any) -> Any:
        fraction = T.int32(self._fraction)
        return intrinsic("float32x4", "llvm.aarch64.neon.vcvtfxs2fp", total, fraction)


class InsertedIndices(Indices):
    """Inserts each code into the index before it, whose other bits stay as they are.

    That is one instruction (bif, bit or sri) without a copy, where an index made anew takes two.
    There is an index into plain windows, with codes in bits 0 and 1 and groups in bits 2 and 3, and
    one into turned windows, the other way round.
    """

    def __init__(self, intrin: Intrinsics) -> None:
        super().__init__(intrin)
        self._buffer = T.alloc_buffer((8,), "uint32", scope="global", layout=None)
        for number, first in enumerate((GROUP_BYTES, LANE_BYTES)):
            vector = T.reinterpret("uint8x16", T.broadcast(T.uint32(first), 4))
            # Inserts nothing. LLVM would keep two instructions for an insertion into a constant.
            shifted = intrinsic("uint8x16", "llvm.aarch64.neon.vsri", vector, vector, T.int32(8))
            T.buffer_store(self._buffer, T.reinterpret("uint32x4", shifted), [ramp(4 * number, 4)])

    def of_field(self, words: Any, field: int) -> Any:
        if field == 3:
            before, found = (
                T.reinterpret("uint8x16", v) for v in (self._buffer[ramp(0, 4)], words)
            )
            index = intrinsic("uint8x16", "llvm.aarch64.neon.vsri", before, found, T.int32(6))
            return self._keep(0, T.reinterpret("uint32x4", index))
        shifted = words >> T.broadcast(T.uint32(2 * field), 4) if field else words
        return self._insert(0, shifted, 0x03030303)

    def of_nested(self, found: Any, field: int) -> Any:
        words = T.reinterpret("uint32x4", found)
        return self._insert(field, words, 0x0C0C0C0C if field else 0x03030303)

    def _insert(self, number: int, words: Any, mask: int) -> Any:
        """Put the bits of words that a mask has into an index."""
        # Behind a fence LLVM does not see that it knows the bits that stay; and of a mask that it
        # knows it would keep the opposite in another register.
        before = _hidden(self._buffer[ramp(4 * number, 4)])
        inside = _hidden(T.broadcast(T.uint32(mask), 4))
        return self._keep(number, before ^ ((before ^ words) & inside))

    def _keep(self, number: int, index: Any) -> Any:
        """Remember an index; returns it as bytes."""
        index = T.bind(index)
        T.buffer_store(self._buffer, index, [ramp(4 * number, 4)])
        return T.reinterpret("int8x16", index)


def _shifted_left(vector: Any, by: int) -> Any:
    return vector << T.broadcast(T.uint8(by), 16) if by else vector


def _hidden(words: Any) -> Any:
    """Return ``uint32x4`` words behind a fence."""
    floats = T.reinterpret("float32x4", words)
    return T.reinterpret("uint32x4", _fence("float32x4", floats))


def _fence(dtype: str, value: Any) -> Any:
    """Return a float value of which LLVM knows nothing any more; it takes no instruction."""
    return intrinsic(dtype, "llvm.arithmetic.fence", value)
