"""Rows of the embedding picked by token ids, from the packed weights that the LM head reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.c4n_linear import raw_arrays, weight_shapes
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import EmbeddingSpec, LinearSpec
from tvm_c4n.ops.tir import argument, build, loop, tokens_of
from tvm_c4n.sparsity.pack import C4nWeight


def as_linear(spec: EmbeddingSpec) -> LinearSpec:
    """Return the linear operator that reads the same weights."""
    return LinearSpec(
        dynamic=spec.dynamic,
        rows=spec.rows,
        cols=spec.cols,
        removed=0,
        dtype=spec.dtype,
        scale_group=spec.scale_group,
        lanes=spec.lanes,
        input_width=spec.cols,
    )


def define(spec: EmbeddingSpec) -> PrimFunc:
    """Return the definition; it moves `cols` numbers a token, so it is also the kernel."""
    lanes = spec.lanes

    def body() -> None:
        tokens = tokens_of(spec)
        ids = argument("ids", (tokens,), "int32")
        arrays = [argument(f"w{i}", *s) for i, s in enumerate(weight_shapes(as_linear(spec)))]
        out = argument("out", (tokens, spec.cols))
        values = arrays[0]
        with loop(tokens) as m, T.serial(spec.cols) as i:
            row = ids[m]
            tile, lane = row // (lanes or 1), row % (lanes or 1)
            if spec.dtype in ("float16", "float32"):
                value = values[tile, i, lane] if lanes else values[row, i]
                T.buffer_store(out, T.cast(value, "float32"), [m, i])
            else:
                s = i // spec.scale_group
                scale = arrays[1][tile, s, lane] if lanes else arrays[1][row, s]
                value = T.cast(_integer(spec, values, row, i), "float32")
                T.buffer_store(out, value * T.cast(scale, "float32"), [m, i])

    return build(spec, "embedding", body)


def _integer(spec: EmbeddingSpec, values: Any, row: Any, column: Any) -> Any:
    """Read the integer at a row and column of raw or packed values, as int32."""
    if spec.lanes:
        tile, byte = row // spec.lanes, 4 * (row % spec.lanes) + column % 4
        unit, chunk = column // 64, column % 64 // 4
        if spec.dtype == "int8":
            return T.cast(values[tile, unit, chunk, byte], "int32")
        raw, high = T.cast(values[tile, unit, chunk // 2, byte], "int32"), chunk % 2
    else:
        if spec.dtype == "int8":
            return T.cast(values[row, column], "int32")
        raw, high = T.cast(values[row, column // 2], "int32"), column % 2
    return (raw << T.if_then_else(high == 0, T.int32(28), T.int32(24))) >> 28


def emit(em: Emitter, ids: Any, weight: C4nWeight) -> Any:
    """Emit the look-up of ``(tokens,)`` int32 ids; returns ``(tokens, cols)`` float32."""
    spec = EmbeddingSpec(
        em.dynamic, weight.rows, weight.cols, weight.dtype, weight.scale_group, lanes=0
    )
    inputs = [ids, *(em.constant(a) for a in raw_arrays(weight))]
    out = relax.TensorType((em.tokens, spec.cols), "float32")
    return em.call(define(spec), inputs, [out])[0]


def oracle(ids: NDArray[np.integer[Any]], weight: C4nWeight) -> NDArray[np.float32]:
    """Look the rows up in the dense weight."""
    return np.asarray(weight.dense()[ids])
