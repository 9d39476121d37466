"""Layers of Mamba-2 without embedding and head, and what float64 makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_c4n._tvm import IRModule, relax, tirx
from tvm_c4n.ops import c4n_linear, conv1d, rms_norm, ssd_scan
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.spec import SsdSpec
from tvm_c4n.sparsity import from_dense

HIDDEN, EPS, TAPS = 32, 1e-5, 4


@dataclass(frozen=True)
class SmallMamba2:
    """Weights of each layer: norm, zx, bcdt, taps, bias, a, dt_bias, d, gated norm, out_proj."""

    spec: SsdSpec
    layers: list[list[np.ndarray]]

    @classmethod
    def random(cls, spec: SsdSpec) -> SmallMamba2:
        """Make one."""
        rng = np.random.default_rng(0)
        shapes = [
            (HIDDEN,),
            (2 * spec.inner, HIDDEN),
            (spec.bc_width + spec.heads, HIDDEN),
            (TAPS, spec.inner + spec.bc_width),
            (spec.inner + spec.bc_width,),
            *[(spec.heads,)] * 3,
            (spec.inner,),
            (HIDDEN, spec.inner),
        ]
        made = [[rng.normal(size=s).astype("f4") * 0.3 for s in shapes] for _ in range(spec.layers)]
        for weights in made:
            weights[5] = -np.exp(weights[5])
        return cls(spec, made)

    def states(self) -> list[np.ndarray]:
        """The states before the first token."""
        spec = self.spec
        widths = (spec.inner, spec.bc_width)
        convs = [np.zeros((spec.layers, TAPS - 1, width), "f4") for width in widths]
        shape = (spec.layers, spec.heads, spec.state, spec.head_dim)
        return [*convs, np.zeros(shape, "u2" if spec.half else "f4")]

    def module(self) -> IRModule:
        """The functions `step`, of one token, and `prefill`."""
        bb, pool = relax.BlockBuilder(), ConstantPool()
        for name, tokens in (("step", 1), ("prefill", tirx.Var("n", "int64"))):
            arguments = [
                relax.Var("x", relax.TensorType((tokens, HIDDEN), "float32")),
                *(relax.Var("s", relax.TensorType(s.shape, str(s.dtype))) for s in self.states()),
            ]
            with bb.function(name, arguments):
                with bb.dataflow():
                    em, values = Emitter(bb, tokens, pool), tuple(arguments)
                    for index in range(self.spec.layers):
                        values = self._layer(em, index, *values)
                    out = bb.emit_output(relax.Tuple(values))
                bb.emit_func_output(out)
        return bb.get()

    def _layer(self, em: Emitter, index: int, h: Any, *states: Any) -> tuple[Any, ...]:
        norm, zx_proj, bcdt_proj, taps, bias, a, dt_bias, d, gated, out_proj = self.layers[index]
        normed = rms_norm.emit(em, h, norm, EPS)
        zx = c4n_linear.emit(em, normed, from_dense(zx_proj, 0, "float32"))
        bcdt = c4n_linear.emit(em, normed, from_dense(bcdt_proj, 0, "float32"))
        past_x, past_bc, ssm = states
        at = self.spec.inner
        x, past_x = conv1d.emit(em, zx, taps[:, :at], bias[:at], past_x, index, first=at)
        bc, past_bc = conv1d.emit(em, bcdt, taps[:, at:], bias[at:], past_bc, index)
        y, ssm = ssd_scan.emit(em, (x, bc, zx, bcdt), (a, dt_bias, d), ssm, index)
        y = rms_norm.emit(em, y, gated, EPS, groups=self.spec.groups)
        h = c4n_linear.emit(em, y, from_dense(out_proj, 0, "float32"), residual=h)
        return h, past_x, past_bc, ssm

    def oracle(self, x: np.ndarray) -> np.ndarray:
        """The last layer's output for tokens from the first one on, in float64."""
        spec, h = self.spec, x.astype(np.float64)
        for norm, zx_proj, bcdt_proj, taps, bias, a, dt_bias, d, gated, out_proj in self.layers:
            normed = rms_norm.oracle(h, norm, EPS)
            z, x = np.split(normed @ zx_proj.T, 2, axis=1)
            bc, dt = np.split(normed @ bcdt_proj.T, [spec.bc_width], axis=1)
            before = np.zeros((TAPS - 1, spec.inner + spec.bc_width))
            xbc, _ = conv1d.oracle(np.concatenate([x, bc], 1), taps, bias, before)
            x, bc = np.split(xbc, [spec.inner], axis=1)
            state = np.zeros((spec.heads, spec.state, spec.head_dim))
            y, _ = ssd_scan.oracle(spec, x, bc, z, dt, a, dt_bias, d, state)
            h = h + rms_norm.oracle(y, gated, EPS, spec.groups) @ out_proj.T
        return h
