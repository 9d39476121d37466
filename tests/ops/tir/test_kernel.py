"""Kernels as PrimFuncs, inside other ones, and in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import RmsNormSpec
from tvm_c4n.ops.tir import (
    ColumnTiles,
    Kernel,
    bind_arguments,
    build,
    declare_or_bind,
    local,
    vectors,
)

SPEC = RmsNormSpec(False, 24, 0.0)


def declare() -> tuple[Any, Any]:
    return declare_or_bind("x", (24,)), declare_or_bind("out", (24,))


def twice(buffers: tuple[Any, Any], start: Any, width: int) -> None:
    x, out = buffers
    with T.serial(width) as i:
        T.buffer_store(out, x[start + i] * T.float32(2), [start + i])


TILES = ColumnTiles(24, 4, 8, frozenset((0, 1)), declare, twice)


def test_tiles_cover_the_columns() -> None:
    x = np.arange(24, dtype=np.float32)
    func = Kernel.of_tiles(SPEC, "twice", TILES).prim_func()
    np.testing.assert_array_equal(call(func, x, np.zeros_like(x))[1], 2 * x)


def test_a_kernel_is_inlined_on_given_buffers() -> None:
    kernel = Kernel.of_tiles(SPEC, "twice", TILES)

    def body() -> None:
        x, out = declare()
        between = local((24,))
        kernel.inline([x, between])
        kernel.inline([between, out])

    x = np.arange(24, dtype=np.float32)
    np.testing.assert_array_equal(call(build(SPEC, "four", body), x, np.zeros_like(x))[1], 4 * x)


def test_bound_arguments_end_with_the_call_even_after_an_error() -> None:
    given = ["x", "out"]
    assert bind_arguments(given, declare) == ("x", "out")
    with pytest.raises(StopIteration):
        bind_arguments(given[:1], declare)
    x = np.arange(24, dtype=np.float32)
    func = Kernel.of_tiles(SPEC, "twice", TILES).prim_func()
    assert len(func.params) == 2
    np.testing.assert_array_equal(call(func, x, np.zeros_like(x))[1], 2 * x)


@pytest.mark.parametrize(("extent", "lanes"), [(8, 4), (10, 4), (3, 4), (4, 4)])
def test_vectors_cover_an_extent_once(extent: int, lanes: int) -> None:
    def body() -> None:
        out = declare_or_bind("out", (extent,))

        def emit(start: Any, width: int) -> None:
            for lane in range(width):
                T.buffer_store(out, out[start + lane] + T.float32(1), [start + lane])

        vectors(extent, lanes, emit)

    out = call(build(SPEC, "count", body), np.zeros(extent, np.float32))[0]
    np.testing.assert_array_equal(out, np.ones(extent))
