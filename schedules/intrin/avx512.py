"""AVX-512 with VNNI: vpshufb gathers, vpdpbusd multiplies and adds."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics, ZeroPoint, repeat
from tvm_c4n._tvm import T, intrinsic
from tvm_c4n.ops.isa import AVX512
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp
from tvm_c4n.sparsity import FIELD_BITS


class Avx512(Intrinsics):
    """512-bit vectors, 16 rows per panel."""

    isa = AVX512
    sums = 16
    zero_point_side = ZeroPoint.OF_WEIGHTS
    gemv_panels = 4
    prefetches_rows = True
    # A broadcast to 512 bits takes the ports that the gathers need.
    repeats_windows = True
    ssd_tokens, ssd_vectors = 4, 1

    def prefetch_distance(self, spec: LinearSpec, size_bytes: int) -> int:
        # docs/decisions/prefetching.md has the figures. Short streams may still be in a cache.
        if size_bytes < (56 << 10 if spec.integer else 96 << 10):
            return 2048 if spec.integer else 0
        # Threads split a stream, and prefetching past a split fetches another thread's data: the
        # longer distances are for streams of at least 16 of them.
        distance = {"int4": 6144, "int8": 12288}.get(spec.dtype, 4096)
        return distance if size_bytes >= 16 * distance else 4096

    def micro_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        # docs/decisions/prefill-gemm.md has the figures.
        if spec.removed:
            return 1, 8
        # With none removed, each token has four vectors of activations at a time instead of one.
        # There are 16 sums: panels that a narrow bundle lacks leave registers for more tokens.
        panels = min(panels, 4 if spec.quantized else 2)
        return panels, min(16 // panels, 12)

    def batch_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        # docs/decisions/batched-decode.md has the figures.
        return min(panels, 4 if spec.integer and not spec.removed else 2), 4

    def for_weights(self, spec: LinearSpec) -> Intrinsics:
        if spec.removed:
            return self
        # One token: to flip the signs of bytes takes nothing where they are masked anyway.
        masked = not spec.dynamic and spec.dtype in FIELD_BITS
        return Avx512Dense() if spec.batched or masked else self

    def _dot(self, acc: Any, unsigned: Any, signed: Any) -> Any:
        name = "llvm.x86.avx512.vpdpbusd.512"
        return intrinsic(self.ints_type, name, acc, unsigned, signed)

    def prepare_x(self, x: Any) -> Any:
        # Flipping the sign bit makes x + 128 of x, as unsigned bytes.
        words = T.reinterpret(self.ints_type, x)
        flipped = words ^ T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return T.reinterpret(self.bytes_type, flipped)

    def gather(self, window: Any, index: Any) -> Any:
        # vpshufb works inside 128-bit lanes, which all hold the same window.
        return intrinsic(self.bytes_type, "llvm.x86.avx512.pshuf.b.512", window, index)

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        # The unsigned operand is x + 128: the correction subtracts what the 128 added.
        return self._dot(acc, x, w)

    def add_zero_point(self, acc: Any, operand: Any) -> Any:
        offset = T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return self._dot(acc, T.reinterpret(self.bytes_type, offset), operand)

    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        # vpermilps reads only the two low bits of a code.
        four = repeat(x[token, ramp(start, 4)], 4, 4)
        index = T.reinterpret("int32x16", code)
        return intrinsic("float32x16", "llvm.x86.avx512.vpermilvar.ps.512", four, index)


class Avx512Dense(Avx512):
    """The weights are the unsigned operand, so that activations are read as they are.

    What that adds follows from the activations: no more than one dot product for all panels. Of a
    sparse weight it would differ from row to row.
    """

    zero_point_side = ZeroPoint.OF_ACTIVATIONS

    def prepare_x(self, x: Any) -> Any:
        return x

    def prepare_w(self, w: Any) -> Any:
        return T.bind(super().prepare_x(w))

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        return self._dot(acc, w, x)

    def add_zero_point(self, acc: Any, operand: Any) -> Any:
        offset = T.broadcast(T.int32(-0x7F7F7F80), self.lanes)
        return self._dot(acc, T.reinterpret(self.bytes_type, offset), operand)
