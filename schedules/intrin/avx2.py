"""AVX2 with FMA and F16C: pshufb gathers, pmaddubsw and pmaddwd multiply."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics, repeat
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import AVX2
from tvm_c4n.ops.tir import ramp


class Avx2(Intrinsics):
    """256-bit vectors, 8 rows a tile."""

    isa = AVX2

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
        pairs = intrinsic("int16x16", "llvm.x86.avx2.pmadd.ub.sw", magnitude, moved)
        ones = T.broadcast(T.int16(1), 16)
        return acc + intrinsic(self.ints_type, "llvm.x86.avx2.pmadd.wd", pairs, ones)

    def pick_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """See base; vpermilps reads only the two low bits of a code."""
        four = repeat(x[token, ramp(start, 4)], 4, 2)
        index = T.reinterpret("int32x8", code)
        return intrinsic("float32x8", "llvm.x86.avx.vpermilvar.ps.256", four, index)
