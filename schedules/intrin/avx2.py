"""AVX2 with FMA and F16C: pshufb gathers, pmaddubsw and pmaddwd multiply."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from schedules.intrin.base import GROUP_BYTES, Intrinsics, ZeroPoint, repeat
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import AVX2
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp
from tvm_c4n.sparsity import CODES, FIELD_BITS
from tvm_c4n.sparsity.weight import codes_of_field


class Avx2(Intrinsics):
    """256-bit vectors, 8 rows per panel."""

    isa = AVX2
    gemv_panels = 4
    conv_vectors = 2
    prefetches_rows = True
    # Fewer sums and windows are moved to the stack and back.
    panel_major = True
    unpacked_tile = (2, 4)
    weight_vectors = 2

    def prefetch_distance(self, spec: LinearSpec, size_bytes: int) -> int:
        # Others were no faster (docs/decisions/prefetching.md).
        return 4096

    def micro_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        # Sums of products of few bits take half a register, and unpacking them pays the more tokens
        # share it; a float product loads two operands, of which a square micro-tile loads fewest.
        # docs/decisions/prefill-gemm.md has the figures.
        if spec.dtype in FIELD_BITS:
            return 2, 8
        return (1, 6) if spec.dtype == "int8" else (2, 4)

    def for_weights(self, spec: LinearSpec) -> Intrinsics:
        # Weights of few bits leave room to add their products in 16 bits.
        if spec.dtype not in FIELD_BITS:
            return self
        if spec.removed or spec.dynamic:
            return Avx2Fields(looks_up=spec.removed > 0)
        return Avx2DenseFields(FIELD_BITS[spec.dtype])

    def gather_index(self, words: Any, field: int) -> Any:
        # Two fields share a mask: pshufb ignores bits 4 to 6 of an index.
        if field % 2:
            words = words >> T.broadcast(T.uint32(2), self.lanes)
        pair = words & T.broadcast(T.uint32(0x33333333), self.lanes)
        if field >= 2:
            pair = pair >> T.broadcast(T.uint32(4), self.lanes)
        group = T.broadcast(T.uint32(GROUP_BYTES), self.lanes)
        return T.reinterpret(self.bytes_type, pair | group)

    def gather(self, window: Any, index: Any) -> Any:
        # pshufb works inside 128-bit halves, which hold the same window.
        return intrinsic(self.bytes_type, "llvm.x86.avx2.pshuf.b", window, index)

    def prepare_w(self, w: Any) -> Any:
        # With their magnitudes, which `dot` multiplies.
        w = T.bind(w)
        return w, T.bind(intrinsic(self.bytes_type, "llvm.x86.avx2.psign.b", w, w))

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        # pmaddubsw multiplies unsigned by signed: the weight's sign moves to x. Two products reach
        # 2 * 128 * 127, below the saturation of int16.
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

    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        # vpermilps reads only the two low bits of a code.
        four = repeat(x[token, ramp(start, 4)], 4, 2)
        index = T.reinterpret("int32x8", code)
        return intrinsic("float32x8", "llvm.x86.avx.vpermilvar.ps.256", four, index)


class Avx2Fields(Avx2):
    """Weights of few bits: products are small enough for 64 of them to be added in 16 bits.

    pmaddubsw multiplies ``x + 128`` by w; a pair of products is within ``2 * 255 * 8``, so that it
    does not saturate. Sums may wrap, for what is left after the correction is at most
    ``32 * 127 * 8``.
    """

    zero_point_side = ZeroPoint.OF_WEIGHTS
    sum_dtype, zero_point_dtype = "int16", "int8"
    weight_vectors = 1
    prepares_x = True

    def __init__(self, *, looks_up: bool = False) -> None:
        self._looks_up = looks_up

    def accumulate_cols(self, removed: int) -> int | None:
        # Two lanes share the products of 64 kept weights.
        return 64 * (4 // (4 - removed))

    def output_scale(self, dtype: str) -> float:
        return 1.0

    def prepare_x(self, x: Any) -> Any:
        # Flipping the sign bit makes x + 128 of x, as unsigned bytes.
        words = T.reinterpret(self.ints_type, x)
        flipped = words ^ T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return T.reinterpret(self.bytes_type, flipped)

    def unpack_nibbles(self, pairs: Any, high: bool) -> Any:
        # An instruction less for two chunks, on the ports of the gathers.
        if self._looks_up:
            return self.unpack_field([(pairs, 4 * high, 4)])
        return self._plus_8(pairs, high) - self._bytes(8)

    def unpack_field(self, pieces: list[tuple[Any, int, int]]) -> Any:
        # pshufb looks up what the bits stand for.
        place, found = sum(bits for _, _, bits in pieces), []
        codes = self._codes(place)
        for vector, low, bits in pieces:
            place -= bits
            found.append(self.masked(vector, place - low, (1 << bits) - 1 << place))
        index = T.reinterpret(self.bytes_type, reduce(or_, found))
        return intrinsic(self.bytes_type, "llvm.x86.avx2.pshuf.b", self.repeated(codes), index)

    def _codes(self, bits: int) -> list[int]:
        """Return the weights that fields of `bits` stand for, in the order of their bits."""
        fields = np.arange(1 << bits, dtype=np.uint8)
        return [int(code) for code in codes_of_field(fields, bits)]

    def _plus_8(self, pairs: Any, high: bool) -> Any:
        """Return weights plus 8: flipping the sign bit of four bits adds 8 to the number."""
        words = T.reinterpret("uint32x8", pairs) ^ T.broadcast(T.uint32(0x88888888), self.lanes)
        if high:
            words = words >> T.broadcast(T.uint32(4), self.lanes)
        four_bits = words & T.broadcast(T.uint32(0x0F0F0F0F), self.lanes)
        return T.reinterpret(self.bytes_type, four_bits)

    def prepare_w(self, w: Any) -> Any:
        return T.bind(w)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        # Pairs of products are added in int16 lanes.
        return acc + self._pairs(x, w)

    def add_zero_point(self, acc: Any, operand: Any) -> Any:
        # The sum of the 16 weights that share a byte fits a byte: 16 * -8 = -128.
        return acc + operand

    def total(self, sums: Any, correction: Any) -> Any:
        return self._both(sums - self._pairs(self._bytes(0x80), correction))

    def _bytes(self, value: int) -> Any:
        return T.reinterpret(self.bytes_type, T.broadcast(T.uint32(0x01010101 * value), self.lanes))


class Avx2DenseFields(Avx2Fields):
    """Dense weights of few bits times one token: multiplied as what the least one lacks to them.

    What must be subtracted, for int4 8 times the sum of the activations, is the same for all rows.
    """

    zero_point_side = ZeroPoint.OF_ACTIVATIONS
    zero_point_dtype = "int16"

    def __init__(self, bits: int) -> None:
        self._low = CODES[bits].low

    def prepare_x(self, x: Any) -> Any:
        # Signed: here the weights are the unsigned operand.
        return x

    def unpack_nibbles(self, pairs: Any, high: bool) -> Any:
        # Left 8 too large: the correction subtracts 8 times the activations.
        return self._plus_8(pairs, high)

    def _codes(self, bits: int) -> list[int]:
        return [code - self._low for code in super()._codes(bits)]

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        # Pairs of products are added in int16 lanes.
        return acc + self._pairs(w, x)

    def add_zero_point(self, acc: Any, operand: Any) -> Any:
        return acc + self._pairs(self._bytes(-self._low), operand)

    def total(self, sums: Any, correction: Any) -> Any:
        return self._both(sums - correction)
