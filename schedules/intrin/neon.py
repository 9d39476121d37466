"""NEON with dot product (cortex-a76 and later): tbl gathers, sdot multiplies and adds."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import NEON
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp


class Neon(Intrinsics):
    """128-bit vectors, 4 rows per panel."""

    isa = NEON
    sums = 24
    # Neither these nor prefetches were ever measured on Arm.
    gemv_panels = 4
    ssd_tokens = 4

    def micro_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        # 12 sums, of 32 registers.
        return 2, 6

    def gather(self, window: Any, index: Any) -> Any:
        return intrinsic(self.bytes_type, "llvm.aarch64.neon.tbl1", window, index)

    def codes(self, words: Any, field: int) -> Any:
        # Shifts of bytes need no mask for the highest field.
        if field < 3:
            return super().codes(words, field)
        high = T.reinterpret("uint8x16", words) >> T.broadcast(T.uint8(6), 16)
        return T.reinterpret("uint32x4", high)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        return intrinsic(self.ints_type, "llvm.aarch64.neon.sdot", acc, w, x)

    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        # A code becomes the indices of the four bytes of its float.
        four = T.reinterpret("int8x16", x[token, ramp(start, 4)])
        scale, first = (T.broadcast(T.uint32(v), 4) for v in (0x04040404, 0x03020100))
        index = T.reinterpret("int8x16", code * scale + first)
        return T.reinterpret(
            "float32x4", intrinsic("int8x16", "llvm.aarch64.neon.tbl1", four, index)
        )
