"""AVX-512's instructions spelled out in plain vector code, for machines that lack them.

The kernels, their tiles and the corrections of their sums are those of AVX-512; only what the four
instructions do is written out. LLVM splits the vectors for the CPU that is there.
"""

from __future__ import annotations

from typing import Any

from schedules.intrin.avx512 import Avx512, Avx512Dense
from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import splat


class _SpelledOut:
    """Instruction by instruction what both classes of AVX-512 ask for."""

    def _dot(self, acc: Any, unsigned: Any, signed: Any) -> Any:
        """vpdpbusd: four products of unsigned by signed bytes are added to each lane."""
        u, s = (
            T.bind(T.reinterpret(t, v)) for t, v in (("uint32x16", unsigned), ("int32x16", signed))
        )
        for byte in range(4):
            low = (u >> splat(T.uint32(8 * byte), 16)) & splat(T.uint32(255), 16)
            left = s << splat(T.int32(24 - 8 * byte), 16)
            acc = acc + T.reinterpret("int32x16", low) * (left >> splat(T.int32(24), 16))
        return T.bind(acc)

    def gather(self, window: Any, index: Any) -> Any:
        """vpshufb, for indices 0..15 into 128-bit lanes that hold the same window."""
        window, index = T.bind(window), T.bind(index)
        chosen = splat(T.int8(0), 64)
        for place in range(16):
            byte = T.Shuffle([window], [T.int32(place)] * 64)
            chosen = T.Select(index == splat(T.int8(place), 64), byte, chosen)
        return T.bind(chosen)

    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """vpermilps: the two low bits of a code choose one of four."""
        code = T.bind(code & splat(T.uint32(3), 16))
        chosen = splat(T.float32(0), 16)
        for place in range(4):
            one = splat(x[token, start + place], 16)
            chosen = T.Select(code == splat(T.uint32(place), 16), one, chosen)
        return T.bind(chosen)


class EmulatedAvx512(_SpelledOut, Avx512):
    """`Avx512` for any processor, and for weights that it leaves to another class."""

    def for_weights(self, spec: LinearSpec) -> Intrinsics:
        return _EmulatedDense() if isinstance(super().for_weights(spec), Avx512Dense) else self


class _EmulatedDense(_SpelledOut, Avx512Dense):
    pass
