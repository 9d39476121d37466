"""loop_bytes: what iterations read that they do not share."""

from __future__ import annotations

from typing import Any

import pytest
from tvm.script import tirx as T

from relay_passes.loop_bytes import UNKNOWN_EXTENT, loop_bytes
from tvm_c4n._tvm import For, SBlockRealize


@T.prim_func(private=True, s_tir=True)
def shared(x: T.Buffer((64,), "float32"), y: T.Buffer((64,), "float32")):
    for i in T.parallel(64):
        y[i] = x[3] + T.float32(1)


@T.prim_func(private=True, s_tir=True)
def rows(
    x: T.Buffer((8, 4), "float16"), z: T.Buffer((4,), "float32"), y: T.Buffer((8,), "float32")
):
    for i in T.parallel(8):
        y[i] = T.float32(0)
        for j in range(4):
            y[i] = y[i] + T.cast(x[i, j], "float32") * z[j]


@T.prim_func(private=True, s_tir=True)
def named(x: T.Buffer((64,), "uint8"), y: T.Buffer((8,), "float32")):
    for i in T.parallel(8):
        start: T.let[T.int32] = i * 8
        row = T.decl_buffer((8,), "uint8", data=T.address_of(x[start]))
        y[i] = T.cast(row[0], "float32") + T.cast(x[start + 1], "float32")


@T.prim_func(private=True, s_tir=True)
def branches(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):
    for i in T.parallel(8):
        if i < 4:
            y[i] = x[i]
        else:
            y[i] = x[i] * x[7 - i]


@T.prim_func(private=True, s_tir=True)
def vectors(x: T.Buffer((64,), "uint8"), y: T.Buffer((64,), "uint8")):
    for i in T.parallel(4):
        T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", T.address_of(x[i]), 0, 2, 1))
        y[i * 16 : i * 16 + 16] = x[T.Ramp(i * 16, 1, 16)]


@T.prim_func(private=True, s_tir=True)
def tokens(a: T.handle, b: T.handle):
    n = T.int64()
    x = T.match_buffer(a, (n,), "float32")
    y = T.match_buffer(b, (n,), "float32")
    for i in T.parallel(n):
        y[i] = x[i]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (shared, 0),
        (rows, 8 * 4 * (2 + 4)),  # the sum is read, too
        (named, 8 * 2),
        (branches, 8 * 8),
        (vectors, 4 * 16),
        (tokens, UNKNOWN_EXTENT * 4),
    ],
)
def test_loads_are_counted_whose_address_depends_on_the_loop(kernel: Any, expected: int) -> None:
    assert loop_bytes(_loop(kernel.body)) == expected


def _loop(stmt: Any) -> For:
    while not isinstance(stmt, For):
        stmt = stmt.block.body if isinstance(stmt, SBlockRealize) else stmt.body
    return stmt
