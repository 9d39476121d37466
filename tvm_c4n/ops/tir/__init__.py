"""Helpers for writing PrimFuncs with TVM's IRBuilder.

Kernels are made by Python functions, not by ``@T.prim_func``: the decorator costs half a second of
source inspection per kernel, and Python loops unroll code that TVMScript would have to spell out.

`access` reads, writes and prefetches vectors, `kernel` makes PrimFuncs and loops, `math` has the
float32 functions that kernels need.
"""

from __future__ import annotations

from tvm_c4n.ops.tir.access import (
    ALIGN_ELEMENTS,
    CACHE_LINE,
    Locality,
    aligned_stack,
    f32,
    load,
    local,
    prefetch,
    prefetch_floats,
    ramp,
    splat,
    store,
    to_float,
    typed,
)
from tvm_c4n.ops.tir.kernel import (
    ColumnTiles,
    Kernel,
    bind_arguments,
    build,
    declare_or_bind,
    declare_or_bind_scalar,
    in_root_block,
    loop,
    no_prefetch,
    tokens_of,
    vectors,
)
from tvm_c4n.ops.tir.math import LOG2_E, exp, exp2, sigmoid, silu, softplus

__all__ = [
    "ALIGN_ELEMENTS",
    "CACHE_LINE",
    "LOG2_E",
    "ColumnTiles",
    "Kernel",
    "Locality",
    "aligned_stack",
    "bind_arguments",
    "build",
    "declare_or_bind",
    "declare_or_bind_scalar",
    "exp",
    "exp2",
    "f32",
    "in_root_block",
    "load",
    "local",
    "loop",
    "no_prefetch",
    "prefetch",
    "prefetch_floats",
    "ramp",
    "sigmoid",
    "silu",
    "softplus",
    "splat",
    "store",
    "to_float",
    "tokens_of",
    "typed",
    "vectors",
]
