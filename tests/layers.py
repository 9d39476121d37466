"""A module with one sparse dense layer, as users have them."""

from __future__ import annotations

import numpy as np

from tvm_c4n._tvm import IRModule, relax
from tvm_c4n.sparsity import mask_from_scores


def sparse_layer(rows: int, cols: int, *, relu: bool = False) -> tuple[IRModule, np.ndarray]:
    """``matmul(x, permute_dims(W))`` for one token; W (rows, cols) has two zeros in each group."""
    weight = np.random.default_rng(0).normal(size=(rows, cols)).astype(np.float32)
    weight *= mask_from_scores(np.abs(weight), 2)
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, cols), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            right = bb.emit(relax.op.permute_dims(relax.const(weight)))
            y = relax.op.matmul(x, right)
            out = bb.emit_output(relax.op.nn.relu(bb.emit(y)) if relu else y)
        bb.emit_func_output(out)
    return bb.get(), weight
