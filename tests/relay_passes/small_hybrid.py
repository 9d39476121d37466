"""Small layers of a convolution, attention and a gated MLP, as one function of one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import schedules
from relay_passes import BindSchedules, RepackWeights
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.ops import advance, attention, c4n_linear, conv1d, rms_norm, rotary, swiglu
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.ring import ring_shapes
from tvm_c4n.ops.spec import AttentionSpec
from tvm_c4n.sparsity import from_dense

CHOOSE = partial(schedules.choose, isa=PORTABLE)
WIDTH, INNER, DIM = 64, 96, 16


@dataclass
class _Builder:
    """Emits the parts of layers; `states` are position, keys, values and the convolution's."""

    em: Emitter
    rng: np.random.Generator
    states: list[Any]

    def linear(self, x: Any, rows: int, cols: int, residual: Any = None) -> Any:
        dense = self.rng.normal(size=(rows, cols)).astype(np.float32) / 8
        return c4n_linear.emit(self.em, x, from_dense(dense, 0, "int8"), residual=residual)

    def norm(self, x: Any) -> Any:
        return rms_norm.emit(self.em, x, self.rng.normal(size=WIDTH).astype(np.float32), 1e-5)

    def mixer(self, x: Any, h: Any, layer: int) -> Any:
        taps = self.rng.normal(size=(4, WIDTH)).astype(np.float32)
        bias = self.rng.normal(size=WIDTH).astype(np.float32)
        y, self.states[3] = conv1d.emit(self.em, x, taps, bias, self.states[3], layer)
        return self.linear(y, WIDTH, WIDTH, h)

    def attention(self, x: Any, h: Any, layer: int, angles: Any) -> Any:
        qkv = (self.linear(x, 4 * DIM, WIDTH), *(self.linear(x, 2 * DIM, WIDTH) for _ in range(2)))
        position, *ring = self.states[:3]
        y, self.states[1:3] = attention.emit(
            self.em, qkv, position, (ring[0], ring[1]), layer, scale=0.25, angles=angles
        )
        return self.linear(y, WIDTH, 4 * DIM, h)

    def mlp(self, h: Any) -> Any:
        x = self.norm(h)
        gate, up = (self.linear(x, INNER, WIDTH) for _ in range(2))
        return self.linear(swiglu.emit(self.em, gate, up), WIDTH, INNER, h)


def bound(layers: Sequence[str]) -> IRModule:
    """Layers with bound kernels: a convolution, attention, or both on one norm, then an MLP.

    ``step(h (1, 64), position, keys, values, conv) -> h, position, keys, values, conv``
    """
    count = len(layers)
    spec = AttentionSpec(False, 4, 2, DIM, count, 64, 0.25, 8, half=True)
    shapes = [((1,), "int32"), *((s, "uint16") for s in ring_shapes(spec))]
    shapes.append(((count, 3, WIDTH), "float32"))
    names = ("position", "keys", "values", "conv")
    states = [
        relax.Var(name, relax.TensorType(*shape)) for name, shape in zip(names, shapes, strict=True)
    ]
    bb, h = relax.BlockBuilder(), relax.Var("h", relax.TensorType((1, WIDTH), "float32"))
    with bb.function("step", [h, *states]):
        with bb.dataflow():
            em = Emitter(bb, 1, ConstantPool())
            made = _Builder(em, np.random.default_rng(0), list(states))
            angles = rotary.emit(em, states[0], rotary.frequencies(8, 100.0))
            value: Any = h
            mixers = attentions = 0
            for kind in layers:
                normed = made.norm(value)
                if kind != "attention":
                    value, mixers = made.mixer(normed, value, mixers), mixers + 1
                if kind != "mixer":
                    value = made.attention(normed, value, attentions, angles)
                    attentions += 1
                value = made.mlp(value)
            # `position` is an argument here, so it is its own count of one token.
            made.states[0] = advance.emit(em, states[0], states[0])
            out = bb.emit_output(relax.Tuple([value, *made.states]))
        bb.emit_func_output(out)
    passes = [RepackWeights(PORTABLE.lanes), BindSchedules(CHOOSE)]
    return tvm.transform.Sequential(passes)(bb.get())


def steps(vm: relax.VirtualMachine, layers: int, count: int) -> list[np.ndarray]:
    """The rows that a text of `count` random rows gives, and the states after it."""
    spec = AttentionSpec(False, 4, 2, DIM, layers, 64, 0.25, 8, half=True)
    arrays = [np.zeros(1, "i4"), *(np.zeros(s, "u2") for s in ring_shapes(spec))]
    states = [tvm.runtime.tensor(a) for a in (*arrays, np.zeros((layers, 3, WIDTH), "f4"))]
    rows = np.random.default_rng(1).normal(size=(count, 1, WIDTH)).astype(np.float32)
    outs = [vm["step"](tvm.runtime.tensor(row), *states)[0].numpy() for row in rows]
    return [np.concatenate(outs), *(state.numpy() for state in states)]
