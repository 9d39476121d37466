"""Plain vector code for any CPU that LLVM knows: selects gather, shifts multiply bytes."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.tir import ramp, splat


class Portable(Intrinsics):
    """One row per lane, however many; LLVM turns vectors into what the CPU has."""

    isa = PORTABLE

    def window(self, x: Any, token: Any, start: Any) -> Any:
        # Four vectors: byte b of a lane is activation p of group b, for p = 0..3.
        loaded = T.bind(x[token, ramp(start, 16)])
        places = [[4 * b + p for b in range(4)] * self.lanes for p in range(4)]
        # A shuffle makes no more elements than it is given.
        given = [loaded] * (self.lanes // 4)
        return [T.bind(T.Shuffle(given, [T.int32(i) for i in place])) for place in places]

    def shifted(self, window: Any, k: int) -> Any:
        return [window[k + (p <= k)] for p in range(4)]

    def gather(self, window: Any, index: Any) -> Any:
        # The index of byte b lies in group b, so only its place there matters.
        position = T.bind(index & splat(T.int8(3), 4 * self.lanes))
        return T.bind(self._select(position, window, T.int8, 4 * self.lanes))

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        # Byte by byte, with the shifts that extend a byte's sign.
        words = [T.bind(T.reinterpret(self.ints_type, v)) for v in (w, x)]
        for byte in range(4):
            left, right = splat(T.int32(24 - 8 * byte), self.lanes), splat(T.int32(24), self.lanes)
            a, b = ((word << left) >> right for word in words)
            acc = acc + a * b
        return acc

    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        four = [splat(x[token, start + p], self.lanes) for p in range(4)]
        return self._select(code, four, T.uint32, self.lanes)

    @staticmethod
    def _select(position: Any, four: list[Any], scalar: Any, lanes: int) -> Any:
        """Return ``four[position]`` in each lane."""
        chosen = four[3]
        for p in (2, 1, 0):
            chosen = T.Select(position == splat(scalar(p), lanes), four[p], chosen)
        return chosen
