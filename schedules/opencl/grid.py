"""What the OpenCL kernels share: their grid of work-items, and float16 without an extension."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.isa import OPENCL

# Work-items of a group.
GROUP = OPENCL.lanes


@contextmanager
def grid(groups: Any, tokens: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Bind groups, tokens and the items of a group; yields their indices in this order."""
    with (
        T.thread_binding(0, tokens, thread="blockIdx.y") as token,
        T.thread_binding(0, groups, thread="blockIdx.x") as group,
        T.thread_binding(0, GROUP, thread="threadIdx.x") as item,
    ):
        yield group, token, item


def private(length: int, dtype: str = "float32") -> Any:
    """Allocate memory of one work-item: registers, where its indices are constant."""
    return T.alloc_buffer((length,), dtype, scope="local", layout=None)


def half_to_float(bits: Any) -> Any:
    """Return the float32 that 16 bits stand for: a finite float16.

    Parameters
    ----------
    bits : PrimExpr
        uint32, the upper half zero.
    """
    bits = T.bind(bits)
    magnitude = T.bind(bits & T.uint32(0x7FFF))
    # Numbers below 2^-14 would pass through float32 numbers that a GPU may flush to zero. The
    # factor 2^-24 is given by its bits: TVM writes constants with seven digits into OpenCL code.
    small = T.cast(magnitude, "float32") * T.reinterpret("float32", T.uint32((127 - 24) << 23))
    moved = (magnitude << T.uint32(13)) + T.uint32((127 - 15) << 23)
    value = T.bind(T.Select(magnitude < T.uint32(0x400), small, T.reinterpret("float32", moved)))
    return T.Select(bits < T.uint32(0x8000), value, T.float32(0) - value)


def float_to_half(value: Any) -> Any:
    """Return the 16 bits, as uint32, of the float16 nearest to a finite float32."""
    bits = T.bind(T.reinterpret("uint32", value))
    magnitude = T.bind(bits & T.uint32(0x7FFFFFFF))
    # Below 2^-14 float16 counts in 2^-24, as float32 does from 1/2 to 1: the sum rounds.
    small = T.reinterpret("float32", magnitude) + T.float32(0.5)
    small = T.reinterpret("uint32", small) - T.uint32(0x3F000000)
    # Half of a float16's last bit, less one where the bit before it is even: ties go to even.
    even = (magnitude >> T.uint32(13)) & T.uint32(1)
    moved = (magnitude + T.uint32(0xFFF) + even) >> T.uint32(13)
    moved = T.min(moved - T.uint32((127 - 15) << 10), T.uint32(0x7C00))
    rounded = T.Select(magnitude < T.uint32((127 - 14) << 23), small, moved)
    return rounded | ((bits >> T.uint32(16)) & T.uint32(0x8000))
