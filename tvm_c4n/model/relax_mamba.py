"""Mamba-1 as a Relax module whose state is explicit.

Functions of the module (V vocabulary, L layers, k convolution width, N state size, d inner size):

- ``step(token (1,) int32, conv (L, k - 1, d), ssm (L, N, d)) -> logits (1, V), conv, ssm``
- ``prefill(tokens (n,) int32, conv, ssm) -> logits (1, V) of the last token, conv, ssm``
- ``score(tokens (n,) int32, conv, ssm) -> logits (n, V) of all tokens, conv, ssm``

The states are float32, start as zeros, and are updated in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import IRModule, relax, tirx
from tvm_c4n.model.config import (
    EMBEDDINGS,
    FINAL_NORM,
    HEAD,
    MAX_TOKENS,
    MambaConfig,
    state_shapes,
)
from tvm_c4n.ops import c4n_linear, conv1d, embedding, rms_norm, selective_scan
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.sparsity import C4nWeight, DType, from_dense

FUNCTIONS = ("step", "prefill", "score")


class Weights(Protocol):
    """The part of a checkpoint that is read here."""

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor as float32."""

    def weight(self, name: str) -> C4nWeight | None:
        """Read one stored weight; None where it is stored dense."""


@dataclass(frozen=True)
class _Layer:
    norm: NDArray[np.float32]
    in_proj: C4nWeight
    conv_weight: NDArray[np.float32]
    conv_bias: NDArray[np.float32]
    x_proj: C4nWeight
    dt_proj: C4nWeight
    dt_bias: NDArray[np.float32]
    a: NDArray[np.float32 | np.uint16]
    d: NDArray[np.float32]
    out_proj: C4nWeight


@dataclass(frozen=True)
class _Model:
    config: MambaConfig
    embeddings: C4nWeight
    head: C4nWeight
    final_norm: NDArray[np.float32]
    layers: list[_Layer]


def _read(config: MambaConfig, weights: Weights, dtype: DType) -> _Model:
    def packed(name: str) -> C4nWeight:
        found = weights.weight(name)
        return found if found is not None else from_dense(weights.dense(name), 0, dtype)

    def vector(name: str) -> NDArray[np.float32]:
        return np.ascontiguousarray(weights.dense(name), np.float32)

    def layer(index: int) -> _Layer:
        mixer = config.prefix(index)
        bias = np.zeros(config.d_inner, np.float32)
        a_log = vector(mixer + "A_log").astype(np.float64)
        dt_proj = packed(mixer + "dt_proj.weight")
        a = np.ascontiguousarray(-np.exp(a_log).T, np.float32)
        # A is as exact as what it is multiplied by.
        half = dt_proj.dtype in ("int8", "int4")
        return _Layer(
            norm=vector(f"backbone.layers.{index}.norm.weight"),
            in_proj=packed(mixer + "in_proj.weight"),
            conv_weight=np.ascontiguousarray(vector(mixer + "conv1d.weight")[:, 0].T),
            conv_bias=vector(mixer + "conv1d.bias") if config.conv_bias else bias,
            x_proj=packed(mixer + "x_proj.weight"),
            dt_proj=dt_proj,
            dt_bias=vector(mixer + "dt_proj.bias"),
            a=a.astype(np.float16).view(np.uint16) if half else a,
            d=vector(mixer + "D"),
            out_proj=packed(mixer + "out_proj.weight"),
        )

    embeddings = packed(EMBEDDINGS)
    return _Model(
        config=config,
        embeddings=embeddings,
        head=embeddings if config.tie_embeddings else packed(HEAD),
        final_norm=vector(FINAL_NORM),
        layers=[layer(i) for i in range(config.n_layer)],
    )


def _mixer(
    em: Emitter, layer: _Layer, index: int, h: Any, states: tuple[Any, Any], eps: float
) -> tuple[Any, tuple[Any, Any]]:
    """Emit one residual block; returns the new residual stream and states."""
    conv, ssm = states
    normed = rms_norm.emit(em, h, layer.norm, eps)
    xz = c4n_linear.emit(em, normed, layer.in_proj)
    x, conv = conv1d.emit(em, xz, layer.conv_weight, layer.conv_bias, conv, index)
    bc = c4n_linear.emit(em, x, layer.x_proj)
    dt = c4n_linear.emit(em, bc, layer.dt_proj, bias=layer.dt_bias)
    y, ssm = selective_scan.emit(em, (dt, x, bc, xz), layer.a, layer.d, ssm, index)
    return c4n_linear.emit(em, y, layer.out_proj, residual=h), (conv, ssm)


def _function(bb: relax.BlockBuilder, name: str, model: _Model, pool: ConstantPool) -> None:
    config = model.config
    tokens = 1 if name == "step" else tirx.Var("n", "int64")
    ids = relax.Var("tokens", relax.TensorType((tokens,), "int32"))
    conv_shape, ssm_shape = state_shapes(config)
    conv = relax.Var("conv", relax.TensorType(conv_shape, "float32"))
    ssm = relax.Var("ssm", relax.TensorType(ssm_shape, "float32"))
    # num_input: the arguments that are not weights, as Relax marks them.
    attrs = {"num_input": 3, "tir_var_upper_bound": {"n": MAX_TOKENS}}
    with bb.function(name, [ids, conv, ssm], attrs=attrs):
        with bb.dataflow():
            em = Emitter(bb, tokens, pool)
            h = embedding.emit(em, ids, model.embeddings)
            states: tuple[Any, Any] = (conv, ssm)
            for index, layer in enumerate(model.layers):
                h, states = _mixer(em, layer, index, h, states, config.eps)
            normed = rms_norm.emit(em, h, model.final_norm, config.eps, last=name == "prefill")
            head = em if name != "prefill" else Emitter(bb, 1, pool)
            logits = c4n_linear.emit(head, normed, model.head)
            out = bb.emit_output(relax.Tuple([logits, *states]))
        bb.emit_func_output(out)


def build_mamba(config: MambaConfig, weights: Weights, *, dtype: DType = "float16") -> IRModule:
    """Build the Relax module of a model; its weights are constants.

    Parameters
    ----------
    config : MambaConfig
    weights : Checkpoint
        A C4n folder, or a dense one.
    dtype : str
        ``"float16"`` or ``"float32"``, for projections that the checkpoint stores dense.

    Returns
    -------
    IRModule
        With the functions `step`, `prefill` and `score`, see the module's description.
    """
    model = _read(config, weights, dtype)
    bb, pool = relax.BlockBuilder(), ConstantPool()
    for name in FUNCTIONS:
        _function(bb, name, model, pool)
    return bb.get()
