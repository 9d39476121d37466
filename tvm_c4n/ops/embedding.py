"""Rows of the embedding picked by token ids, from the repacked weights that the LM head reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.repack import format_of
from tvm_c4n.ops.spec import EmbeddingSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of
from tvm_c4n.sparsity import C4nWeight


def define(spec: EmbeddingSpec) -> PrimFunc:
    """Return the definition; it moves `cols` numbers per token, so it is also the kernel."""
    fmt = format_of(spec)

    def body() -> None:
        tokens = tokens_of(spec)
        ids = declare_or_bind("ids", (tokens,), "int32")
        weights = fmt.declare()
        out = declare_or_bind("out", (tokens, spec.cols))
        with loop(tokens) as m, T.serial(spec.cols) as i:
            value = T.cast(fmt.value(weights, ids[m], i // 4, i % 4), "float32")
            if fmt.quantized:
                scale = fmt.scale(weights, ids[m], i // spec.scale_group)
                value = value * T.cast(scale, "float32")
            if spec.scale != 1:
                value = value * T.float32(spec.scale)
            T.buffer_store(out, value, [m, i])

    return build(spec, "embedding", body)


def emit(em: Emitter, ids: Any, weight: C4nWeight, scale: float = 1.0) -> Any:
    """Emit the look-up of ``(tokens,)`` int32 ids; returns ``(tokens, cols)`` float32."""
    spec = EmbeddingSpec(
        em.dynamic,
        weight.rows,
        weight.cols,
        weight.dtype,
        weight.scale_group,
        0,
        scale,
        batched=em.batched,
    )
    inputs = [ids, *(em.constant(a) for a in stored_arrays(weight))]
    out = relax.TensorType((em.tokens, spec.cols), "float32")
    return em.call(define(spec), inputs, [out])[0]


def oracle(ids: NDArray[np.integer[Any]], weight: C4nWeight) -> NDArray[np.float32]:
    """Look the rows up in the dense weight."""
    return np.asarray(weight.dense()[ids])
