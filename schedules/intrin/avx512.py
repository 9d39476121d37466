"""AVX-512 with VNNI: vpshufb gathers, vpdpbusd multiplies and adds."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics, repeat
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import AVX512
from tvm_c4n.ops.tir import ramp


class Avx512(Intrinsics):
    """512-bit vectors, 16 rows a tile."""

    isa = AVX512
    corrected = "by weights"

    def _dot(self, acc: Any, unsigned: Any, signed: Any) -> Any:
        name = "llvm.x86.avx512.vpdpbusd.512"
        return intrinsic(self.ints_type, name, acc, unsigned, signed)

    def prepare_x(self, x: Any) -> Any:
        """Flip the sign bit: as unsigned bytes the activations become x + 128."""
        words = T.reinterpret(self.ints_type, x)
        flipped = words ^ T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return T.reinterpret(self.bytes_type, flipped)

    def pick(self, window: Any, index: Any) -> Any:
        """See base; vpshufb works inside 128-bit lanes, which hold the same window."""
        return intrinsic(self.bytes_type, "llvm.x86.avx512.pshuf.b.512", window, index)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """See base; the caller subtracts what the shift of x added."""
        return self._dot(acc, x, w)

    def correction(self, acc: Any, operand: Any) -> Any:
        """See base."""
        shift = T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return self._dot(acc, T.reinterpret(self.bytes_type, shift), operand)

    def pick_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """See base; vpermilps reads only the two low bits of a code."""
        four = repeat(x[token, ramp(start, 4)], 4, 4)
        index = T.reinterpret("int32x16", code)
        return intrinsic("float32x16", "llvm.x86.avx512.vpermilvar.ps.512", four, index)
