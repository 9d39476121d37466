"""The same dense Mamba as TVM itself compiles it, without any of our operators or schedules.

A decode step is written with Relax's own operators (`matmul`, `rms_norm`, `silu`, ...) in float32,
with weights as parameters, and built in two variants: ``default`` is `relax.build` with TVM's
pipeline for CPUs, untouched; ``dlight`` adds TVM's hand-written CPU rules (`dlight.cpu`: GEMV,
Reduction). Relax has no selective scan, so a prompt is read by repeating the step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tvm.s_tir import dlight

from tvm_c4n._tvm import relax, tvm
from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.files import atomic_output
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.target import resolve_target, triple_of
from tvm_c4n.model.blocks import Mamba1
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model

VARIANTS = ("default", "dlight")


def weight_names(config: ModelConfig) -> list[str]:
    """Return the checkpoint's names of the step's weights, in the order of its parameters."""
    names = [config.embeddings]
    for layer in range(config.n_layer):
        mixer = _mixer(config, layer)
        names.append(f"backbone.layers.{layer}.norm.weight")
        names += [mixer.prefix + part for part in mixer.tensors()]
    return list(dict.fromkeys([*names, config.final_norm.weight, config.head]))


def _mixer(config: ModelConfig, layer: int) -> Mamba1:
    """Return the block of a layer of Mamba-1."""
    (mixer,) = config.layers[layer].blocks
    assert isinstance(mixer, Mamba1)  # noqa: S101 - the baseline is written for nothing else
    return mixer


def step_module(config: ModelConfig, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Write the step: ``(token, conv, ssm, *weights) -> (logits, conv, ssm)``.

    Parameters
    ----------
    config : ModelConfig
    shapes : dict
        Those of the weights; ``conv1d.weight`` is ``(inner, conv)``.
    """
    op, bb = relax.op, relax.BlockBuilder()
    conv_shape, ssm_shape = config.state_shapes()
    token = relax.Var("token", relax.TensorType((1,), "int32"))
    states = [
        relax.Var(name, relax.TensorType(shape, "float32"))
        for name, shape in (("conv", conv_shape), ("ssm", ssm_shape))
    ]
    weights = {
        name: relax.Var(f"w{index}", relax.TensorType(shapes[name], "float32"))
        for index, name in enumerate(weight_names(config))
    }
    with bb.function("step", [token, *states, *weights.values()], attrs={"num_input": 3}):
        with bb.dataflow():
            emit = bb.emit

            def linear(x: Any, name: str) -> Any:
                return emit(op.matmul(x, op.permute_dims(weights[name])))

            def norm(x: Any, name: str) -> Any:
                eps = config.final_norm.eps
                return emit(op.nn.rms_norm(x, weights[name], axes=[-1], epsilon=eps))

            h = emit(op.take(weights[config.embeddings], token, axis=0, mode="clip"))
            new_conv, new_ssm = [], []
            for layer in range(config.n_layer):
                mixer = _mixer(config, layer)
                prefix = mixer.prefix
                w = {part: weights[prefix + part] for part in mixer.tensors()}
                normed = norm(h, f"backbone.layers.{layer}.norm.weight")
                xz = linear(normed, prefix + "in_proj.weight")
                x, z = (emit(part) for part in _split(op, xz, [mixer.d_inner]))
                old = emit(_layer(op, states[0], layer))
                window = emit(op.concat([old, x], axis=0))
                mixed = op.sum(op.multiply(window, op.permute_dims(w["conv1d.weight"])), axis=[0])
                x = emit(
                    op.nn.silu(op.reshape(op.add(mixed, w["conv1d.bias"]), (1, mixer.d_inner)))
                )
                new_conv.append(emit(op.strided_slice(window, [0], [1], [mixer.d_conv])))
                bc = linear(x, prefix + "x_proj.weight")
                dt, b, c = (
                    emit(part)
                    for part in _split(op, bc, [mixer.dt_rank, mixer.dt_rank + mixer.d_state])
                )
                dt = emit(
                    op.nn.softplus(op.add(linear(dt, prefix + "dt_proj.weight"), w["dt_proj.bias"]))
                )
                a = op.negative(op.exp(op.permute_dims(w["A_log"])))
                column = (mixer.d_state, 1)
                ssm = emit(
                    op.add(
                        op.multiply(op.exp(op.multiply(a, dt)), _layer(op, states[1], layer)),
                        op.multiply(op.multiply(dt, x), op.reshape(b, column)),
                    )
                )
                new_ssm.append(ssm)
                y = op.sum(op.multiply(ssm, op.reshape(c, column)), axis=[0], keepdims=True)
                y = emit(op.multiply(op.add(y, op.multiply(x, w["D"])), op.nn.silu(z)))
                h = emit(op.add(h, linear(y, prefix + "out_proj.weight")))
            logits = linear(norm(h, config.final_norm.weight), config.head)
            stacked = [emit(op.stack(parts, axis=0)) for parts in (new_conv, new_ssm)]
            out = bb.emit_output(relax.Tuple([logits, *stacked]))
        bb.emit_func_output(out)
    return bb.get()


def _split(op: Any, value: Any, at: list[int]) -> list[Any]:
    parts = op.split(value, at, axis=1)
    return [relax.TupleGetItem(parts, index) for index in range(len(at) + 1)]


def _layer(op: Any, state: Any, layer: int) -> Any:
    return op.squeeze(op.strided_slice(state, [0], [layer], [layer + 1]), [0])


def build(mod: Any, variant: str, out: Path) -> None:
    """Compile a module in one of the `VARIANTS` to a library."""
    target = resolve_target("host")
    with target:
        if variant == "dlight":
            t = relax.transform
            passes = [t.LegalizeOps(), t.AnnotateTIROpPattern(), t.FoldConstant(), t.FuseOps()]
            passes += [t.FuseTIR()]
            rules = dlight.cpu.GEMV(), dlight.cpu.Reduction()
            mod = tvm.transform.Sequential([*passes, dlight.ApplyDefaultSchedule(*rules)])(mod)
        executable = relax.build(mod, target)
    out.parent.mkdir(parents=True, exist_ok=True)
    compiler = make_fcompile(triple_of(target))
    with atomic_output(out) as temporary:
        executable.export_library(str(temporary), fcompile=compiler)


class TvmModel:
    """A step of TVM's own build, with the weights of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, variant: str, folder: Path):
        self.config = describe_model(checkpoint.config)
        arrays = {name: checkpoint.dense(name) for name in weight_names(self.config)}
        arrays = {name: _plain(name, array) for name, array in arrays.items()}
        library = folder / f"step-{variant}.so"
        if not library.is_file():
            shapes = {name: array.shape for name, array in arrays.items()}
            build(step_module(self.config, shapes), variant, library)
        self.weight_bytes = sum(array.nbytes for array in arrays.values())
        self._vm = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
        self._weights = [tvm.runtime.tensor(array) for array in arrays.values()]
        self.reset()

    def reset(self) -> None:
        """Forget the text."""
        shapes = self.config.state_shapes()
        self._states = [tvm.runtime.tensor(np.zeros(shape, np.float32)) for shape in shapes]

    def step(self, token: int) -> np.ndarray[Any, Any]:
        """Read one token; returns the logits ``(vocab,)``."""
        ids = tvm.runtime.tensor(np.array([token], np.int32))
        logits, *self._states = self._vm["step"](ids, *self._states, *self._weights)
        return np.asarray(logits.numpy()[0])


def _plain(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if name.endswith("conv1d.weight"):
        array = array.reshape(array.shape[0], -1)
    return np.ascontiguousarray(array, np.float32)
