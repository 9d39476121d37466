"""Vectors of buffers: types, indices, loads, stores, prefetches, and where the stack holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from tvm_c4n._tvm import T

# Bytes of a cache line, on every CPU that the kernels are written for.
CACHE_LINE = 64
# Buffers inside a workspace start at multiples of this many elements, so that no two of them, of
# whatever dtype, share a cache line: two threads that write to one line slow each other down.
ALIGN_ELEMENTS = 64


def typed(dtype: str, lanes: int) -> str:
    """Return the name of a vector type; one lane is the scalar type."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def ramp(start: Any, lanes: int, stride: int = 1) -> Any:
    """Return the index of `lanes` elements from `start` on."""
    return start if lanes == 1 else T.ramp(start, stride, lanes)


def splat(value: Any, lanes: int) -> Any:
    """Repeat a scalar expression in all lanes."""
    return value if lanes == 1 else T.broadcast(value, lanes)


def f32(value: float, lanes: int = 1) -> Any:
    """Return a float32 constant in all lanes."""
    return splat(T.float32(value), lanes)


def to_float(value: Any, lanes: int) -> Any:
    """Convert to float32."""
    return T.cast(value, typed("float32", lanes))


def load(buffer: Any, outer: Sequence[Any], start: Any, lanes: int) -> Any:
    """Read `lanes` consecutive elements of the last axis."""
    return buffer[(*outer, ramp(start, lanes))]


def store(buffer: Any, outer: Sequence[Any], start: Any, lanes: int, value: Any) -> None:
    """Write `lanes` consecutive elements of the last axis."""
    T.buffer_store(buffer, value, [*outer, ramp(start, lanes)])


class Locality(IntEnum):
    """The cache that a prefetch is for, in LLVM's numbers; NONE: no cache keeps the line."""

    NONE = 0
    L2 = 2
    L1 = 3


def prefetch(
    buffer: Any, index: Sequence[Any], distance: int, locality: Locality = Locality.L2
) -> None:
    """Prefetch the cache line that lies `distance` elements behind an element.

    The address may lie beyond the buffer: prefetching memory that is not there does nothing.
    """
    address = T.address_of(buffer[(*index[:-1], index[-1] + distance)])
    _prefetch_line(address, locality)


def _prefetch_line(address: Any, locality: Locality = Locality.L2) -> None:
    """Prefetch the cache line at an address."""
    read, kept, data = T.int32(0), T.int32(int(locality)), T.int32(1)
    T.evaluate(T.call_intrin("void", "tirx.prefetch", address, read, kept, data))


def prefetch_floats(buffer: Any, outer: Sequence[Any], start: Any, count: int) -> None:
    """Prefetch `count` float32 elements of the last axis; `start` begins a cache line."""
    for column in range(0, count, CACHE_LINE // 4):
        prefetch(buffer, (*outer, start + column), 0)


def local(shape: Sequence[int], dtype: str = "float32") -> Any:
    """Allocate a small buffer that LLVM keeps in registers when its indices are constants.

    TVM puts CPU buffers on the stack only if their scope is "global" and they are smaller than
    1024 bytes; others, "local" ones too, come from a heap, and LLVM must store every sum.
    """
    return T.alloc_buffer(shape, dtype, scope="global", layout=None)


@contextmanager
def aligned_stack() -> Iterator[None]:
    """Align the stack to cache lines, for the vectors that LLVM spills inside the context.

    It is for the body of a parallel loop: elsewhere TVM would move the variable out of the function
    that spills. docs/decisions/stack-alignment.md has the figures.

    LLVM takes a frame's alignment from its variables, before it knows what it will spill, and TVM
    asks for no more than 16 bytes. Where a process's stack begins would then decide whether spilled
    vectors lie across two lines: some kernels took 1.6 times as long in one process of four. We
    allocate one vector of a cache line and touch its address at both ends of the body, so that TVM
    neither moves it nor gives its place to another variable.
    """
    line = T.alloc_buffer((1,), typed("float32", CACHE_LINE // 4), scope="global", layout=None)
    _prefetch_line(line.data)
    yield
    _prefetch_line(line.data)
