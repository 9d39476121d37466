"""AVX2 with FMA and F16C: pshufb gathers, pmaddubsw and pmaddwd multiply."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import GROUP_BYTES, Correction, Intrinsics, repeat
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import AVX2
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp


class Avx2(Intrinsics):
    """256-bit vectors, 8 rows a tile."""

    isa = AVX2

    def of(self, spec: LinearSpec) -> Intrinsics:
        """See base; int4 weights leave room to add their products in 16 bits."""
        if spec.dtype != "int4":
            return self
        return Avx2Nibbles() if spec.removed or spec.dynamic else Avx2DenseNibbles()

    def index(self, words: Any, field: int) -> Any:
        """See base; two fields share a mask, for pshufb ignores bits 4 to 6 of an index."""
        if field % 2:
            words = words >> T.broadcast(T.uint32(2), self.lanes)
        pair = words & T.broadcast(T.uint32(0x33333333), self.lanes)
        if field >= 2:
            pair = pair >> T.broadcast(T.uint32(4), self.lanes)
        group = T.broadcast(T.uint32(GROUP_BYTES), self.lanes)
        return T.reinterpret(self.bytes_type, pair | group)

    def pick(self, window: Any, index: Any) -> Any:
        """See base; pshufb works inside 128-bit halves, which hold the same window."""
        return intrinsic(self.bytes_type, "llvm.x86.avx2.pshuf.b", window, index)

    def prepare_w(self, w: Any) -> Any:
        """Bind the weights and their magnitudes."""
        w = T.bind(w)
        return w, T.bind(intrinsic(self.bytes_type, "llvm.x86.avx2.psign.b", w, w))

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """See base.

        pmaddubsw multiplies unsigned by signed: the weight's sign moves to x. Two products reach
        2 * 128 * 127, below the saturation of int16.
        """
        signed, magnitude = w
        moved = intrinsic(self.bytes_type, "llvm.x86.avx2.psign.b", x, signed)
        return acc + self._both(self._pairs(magnitude, moved))

    def _pairs(self, unsigned: Any, signed: Any) -> Any:
        """Multiply bytes and add neighbours, with saturation to int16."""
        return intrinsic("int16x16", "llvm.x86.avx2.pmadd.ub.sw", unsigned, signed)

    def _both(self, pairs: Any) -> Any:
        """Add neighbouring int16 as int32."""
        ones = T.broadcast(T.int16(1), 16)
        return intrinsic(self.ints_type, "llvm.x86.avx2.pmadd.wd", pairs, ones)

    def pick_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """See base; vpermilps reads only the two low bits of a code."""
        four = repeat(x[token, ramp(start, 4)], 4, 2)
        index = T.reinterpret("int32x8", code)
        return intrinsic("float32x8", "llvm.x86.avx.vpermilvar.ps.256", four, index)


class Avx2Nibbles(Avx2):
    """int4 weights: products are small enough to be added in 16 bits over 64 columns.

    pmaddubsw multiplies ``x + 128`` by w; a pair of products is within ``2 * 255 * 8``, so that it
    does not saturate. Sums may wrap, for what is left after the correction is at most
    ``32 * 127 * 8``.
    """

    corrected: Correction = "by weights"
    sum_dtype, shift_dtype = "int16", "int8"
    stretch = 64
    fold = 1.0

    def prepare_x(self, x: Any) -> Any:
        """Flip the sign bit: as unsigned bytes the activations become x + 128."""
        words = T.reinterpret(self.ints_type, x)
        flipped = words ^ T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return T.reinterpret(self.bytes_type, flipped)

    def nibbles(self, packed: Any, high: bool) -> Any:
        """See base."""
        return self._plus_8(packed, high) - self._bytes(8)

    def _plus_8(self, packed: Any, high: bool) -> Any:
        """Take weights plus 8: flipping the sign bit of four bits adds 8 to the number."""
        words = T.reinterpret("uint32x8", packed) ^ T.broadcast(T.uint32(0x88888888), self.lanes)
        if high:
            words = words >> T.broadcast(T.uint32(4), self.lanes)
        four_bits = words & T.broadcast(T.uint32(0x0F0F0F0F), self.lanes)
        return T.reinterpret(self.bytes_type, four_bits)

    def prepare_w(self, w: Any) -> Any:
        """See base."""
        return T.bind(w)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """See base; adds pairs of products to int16 lanes."""
        return acc + self._pairs(x, w)

    def correction(self, acc: Any, operand: Any) -> Any:
        """See base; the sum of up to 16 int4 weights is a byte."""
        return acc + operand

    def total(self, sums: Any, shift: Any) -> Any:
        """See base."""
        return self._both(sums - self._pairs(self._bytes(0x80), shift))

    def _bytes(self, value: int) -> Any:
        return T.reinterpret(self.bytes_type, T.broadcast(T.uint32(0x01010101 * value), self.lanes))


class Avx2DenseNibbles(Avx2Nibbles):
    """Dense int4 weights times one token: multiplied as w + 8, which takes no table.

    What must be subtracted, 8 times the sum of the activations, is the same for all rows.
    """

    corrected = "by activations"
    shift_dtype = "int16"

    def prepare_x(self, x: Any) -> Any:
        """Leave the activations as they are."""
        return x

    def nibbles(self, packed: Any, high: bool) -> Any:
        """Leave the weights 8 too large."""
        return self._plus_8(packed, high)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """See base; adds pairs of products to int16 lanes."""
        return acc + self._pairs(w, x)

    def correction(self, acc: Any, operand: Any) -> Any:
        """See base."""
        return acc + self._pairs(self._bytes(8), operand)

    def total(self, sums: Any, shift: Any) -> Any:
        """See base."""
        return self._both(sums - shift)
