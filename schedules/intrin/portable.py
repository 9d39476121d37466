"""Plain vector code for any CPU that LLVM knows: no gathers, no dot products of bytes."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.tir import splat


class Portable(Intrinsics):
    """4 rows a tile; LLVM turns vectors into what the CPU has."""

    isa = PORTABLE

    def window(self, x: Any, token: Any, start: Any) -> Any:
        """Keep where the window is: `pick` reads memory."""
        return x, token, start

    def pick(self, window: Any, index: Any) -> Any:
        """See base."""
        x, token, start = window
        columns = T.cast(index, f"int32x{4 * self.lanes}") + splat(T.cast(start, "int32"), 16)
        return x[token, columns]

    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """See base: byte by byte, with the shifts that extend a byte's sign."""
        words = [T.reinterpret(self.ints_type, v) for v in (w, x)]
        for byte in range(4):
            left, right = splat(T.int32(24 - 8 * byte), self.lanes), splat(T.int32(24), self.lanes)
            a, b = ((word << left) >> right for word in words)
            acc = acc + a * b
        return acc

    def pick_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """See base."""
        columns = T.cast(code, self.ints_type) + splat(T.cast(start, "int32"), self.lanes)
        return x[token, columns]
