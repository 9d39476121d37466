"""A model as a Relax module whose state is explicit.

Functions of the module (V vocabulary; the states are those of `ModelConfig.states`, stacked over
the blocks that have them; Mamba-1 has ``conv (L, k - 1, d)`` and ``ssm (L, N, d)``; attention has
``keys``, ``values`` and one ``position (1,)`` int32, the tokens that were read):

- ``step(token (1,) int32, *states) -> logits (1, V), *states``
- ``prefill(tokens (n,) int32, *states) -> logits (1, V) of the last token, *states``
- ``score(tokens (n,) int32, *states) -> logits (n, V) of all tokens, *states``

If it is asked for, there is also a step of several sequences at once, which have one slot each:

- ``batch_step(tokens (n,) int32, chosen (active,) int32, *states) -> logits (n, V), *states``

Its states have the slots as their second axis. The first `active` tokens belong to the chosen
slots, which must differ. Those after them change no state, and their logits say nothing: they are
there because some counts of tokens are faster than others.

The states start as zeros and are updated in place. Each kind of block has its module here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvm_c4n._tvm import IRModule, relax, tirx
from tvm_c4n.model.config import MAX_TOKENS
from tvm_c4n.model.description import ModelConfig, Residual
from tvm_c4n.model.relax_model.arrays import Arrays, Weights
from tvm_c4n.model.relax_model.attention import attention
from tvm_c4n.model.relax_model.block_emitter import BlockEmitter, StateVars
from tvm_c4n.model.relax_model.delta_net import delta_net
from tvm_c4n.model.relax_model.experts import experts
from tvm_c4n.model.relax_model.mamba1 import mamba1
from tvm_c4n.model.relax_model.mamba2 import mamba2
from tvm_c4n.model.relax_model.mlp import mlp
from tvm_c4n.model.relax_model.short_conv import short_conv
from tvm_c4n.ops import advance, c4n_linear, embedding, rms_norm
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.slots import with_slots
from tvm_c4n.sparsity import DType

FUNCTIONS = ("step", "prefill", "score")
BATCH_STEP = "batch_step"
# By kind: (block, its emitter, the normed stream, the stream) -> the new stream.
BLOCKS: dict[str, Callable[[Any, BlockEmitter, Any, Any], Any]] = {
    "attention": attention,
    "delta_net": delta_net,
    "experts": experts,
    "mamba1": mamba1,
    "mamba2": mamba2,
    "mlp": mlp,
    "short_conv": short_conv,
}


def build_model(
    config: ModelConfig, weights: Weights, *, dtype: DType = "float16", batch: int = 0
) -> IRModule:
    """Build the Relax module of a model; its weights are constants.

    Parameters
    ----------
    config : ModelConfig
    weights : Checkpoint
        A C4n folder, or a dense one.
    dtype : str
        ``"float16"`` or ``"float32"``, for projections that the checkpoint stores dense.
    batch : int
        Tokens of `batch_step` at most; 0: there is none.

    Returns
    -------
    IRModule
        With the functions `step`, `prefill` and `score`, see the module's description.
    """
    arrays = Arrays(weights, dtype)
    bb, pool = relax.BlockBuilder(), ConstantPool()
    for name in FUNCTIONS:
        _function(bb, name, config, arrays, pool)
    if batch:
        _batch_step(bb, config, arrays, pool, batch)
    return bb.get()


def _function(
    bb: relax.BlockBuilder, name: str, config: ModelConfig, arrays: Arrays, pool: ConstantPool
) -> None:
    tokens = 1 if name == "step" else tirx.Var("n", "int64")
    ids = relax.Var("tokens", relax.TensorType((tokens,), "int32"))
    stacked = config.states()
    given = [relax.Var(s.name, relax.TensorType(s.shape, s.dtype)) for s in stacked]
    # num_input: the arguments that are not weights, as Relax marks them.
    attrs = {"num_input": 1 + len(given), "tir_var_upper_bound": {"n": MAX_TOKENS}}
    with bb.function(name, [ids, *given], attrs=attrs):
        em, states = Emitter(bb, tokens, pool), StateVars(dict(zip(stacked, given, strict=True)))
        _body(em, config, arrays, ids, states, last=name == "prefill")


def _batch_step(
    bb: relax.BlockBuilder, config: ModelConfig, arrays: Arrays, pool: ConstantPool, most: int
) -> None:
    tokens, active, slots = (tirx.Var(name, "int64") for name in ("n", "active", "slots"))
    ids = relax.Var("tokens", relax.TensorType((tokens,), "int32"))
    chosen = relax.Var("chosen", relax.TensorType((active,), "int32"))
    stacked = config.states()
    given = [
        relax.Var(s.name, relax.TensorType(with_slots(s.shape, slots), s.dtype)) for s in stacked
    ]
    attrs = {"num_input": 2 + len(given), "tir_var_upper_bound": {"n": most}}
    with bb.function(BATCH_STEP, [ids, chosen, *given], attrs=attrs):
        em = Emitter(bb, tokens, pool, chosen)
        _body(em, config, arrays, ids, StateVars(dict(zip(stacked, given, strict=True))))


def _body(
    em: Emitter,
    config: ModelConfig,
    arrays: Arrays,
    ids: Any,
    states: StateVars,
    *,
    last: bool = False,
) -> None:
    """Emit all layers and the logits, with `last` those of the last token alone."""
    bb, pool = em.bb, em.constant
    with bb.dataflow():
        h = embedding.emit(em, ids, arrays.packed(config.embeddings), config.embedding_scale)
        for layer in config.layers:
            for residual in layer.residuals:
                h = _residual(em, residual, h, arrays, states)
        norm = config.final_norm
        scale = config.logits_scale
        weight = arrays.converted(norm.weight, lambda w: norm.factors(w) * np.float32(scale))
        normed = rms_norm.emit(em, h, weight, norm.eps, last=last)
        head = Emitter(bb, 1, pool) if last else em
        if config.head_map is not None:
            normed = c4n_linear.emit(head, normed, arrays.packed(config.head_map))
        logits = c4n_linear.emit(head, normed, arrays.packed(config.head))
        states.advance(lambda position: advance.emit(em, ids, position))
        out = bb.emit_output(relax.Tuple([logits, *states.variables()]))
    bb.emit_func_output(out)


def _residual(em: Emitter, residual: Residual, h: Any, arrays: Arrays, states: StateVars) -> Any:
    norm = residual.norm
    normed = rms_norm.emit(em, h, arrays.converted(norm.weight, norm.factors), norm.eps)
    for block in residual.blocks:
        h = BLOCKS[block.kind](block, BlockEmitter(em, block, arrays, states), normed, h)
    return h


__all__ = ["BATCH_STEP", "BLOCKS", "FUNCTIONS", "build_model"]
