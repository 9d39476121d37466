"""The Relax Mamba against the float64 reference: step, prefill and score, every weight format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay_passes import LiftConstants
from tvm_c4n._tvm import IRModule, name_of, tvm
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.compile.build import build
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.sparsity import from_dense, mask_from_scores

# The others are in the whole suite: compilations take most of the time.
REMOVED = [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 3))]


def checkpoint(config: ModelConfig, tensors: dict[str, Any], removed: int, dtype: str) -> Any:
    """The tensors with packed projections and embeddings."""
    packed = dict(tensors)
    for name, array in tensors.items():
        if array.ndim != 2 or name.endswith("A_log"):
            continue
        n = removed if name.endswith(("in_proj.weight", "out_proj.weight")) else 0
        kind = "int8" if "dt_proj" in name and dtype.startswith("int") else dtype
        mask = mask_from_scores(np.abs(array), n) if n else None
        packed[name] = from_dense(array, n, kind, mask=mask)
    return ArrayCheckpoint({}, packed)


def machine(config: ModelConfig, weights: Any, dtype: str = "float32") -> Any:
    """A virtual machine and fresh states."""
    executable = build(build_model(config, weights, dtype=dtype))
    vm = tvm.relax.VirtualMachine(executable, tvm.cpu())
    states = [tvm.runtime.tensor(np.zeros(s, np.float32)) for s in config.state_shapes()]
    return vm, states


def ids(*values: int) -> Any:
    return tvm.runtime.tensor(np.array(values, np.int32))


@pytest.mark.parametrize("removed", REMOVED)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_float_models_equal_the_reference(tiny: Any, dtype: str, removed: int) -> None:
    config, tensors = tiny
    weights = checkpoint(config, tensors, removed, dtype)
    vm, states = machine(config, weights)
    reference = Reference(config, weights.dense)
    text = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    expected = reference.prefill(text)
    found = vm["score"](ids(*text), *states)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # the states went on: prefill and step continue
    following = reference.prefill([7, 8, 9])[-1]
    np.testing.assert_allclose(
        vm["prefill"](ids(7, 8, 9), *states)[0].numpy()[0], following, rtol=1e-4, atol=1e-4
    )
    for token in (0, 49, 49):
        logits = vm["step"](ids(token), *states)[0].numpy()[0]
        np.testing.assert_allclose(logits, reference.step(token), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_functions_share_all_their_weights(tiny: Any, dtype: str) -> None:
    config, tensors = tiny
    mod = build_model(config, checkpoint(config, tensors, 2, dtype), dtype="float32")
    step = IRModule(
        {g: f for g, f in mod.functions_items() if name_of(g) not in ("prefill", "score")}
    )

    def weights(of: IRModule) -> int:
        return len(LiftConstants()(of).attrs["c4n.constants"])

    assert weights(mod) == weights(step)


@pytest.mark.parametrize("removed", REMOVED)
@pytest.mark.parametrize("dtype", [pytest.param("int8", marks=pytest.mark.slow), "int4"])
def test_integer_models_differ_only_by_rounded_activations(
    tiny: Any, dtype: str, removed: int
) -> None:
    config, tensors = tiny
    weights = checkpoint(config, tensors, removed, dtype)
    vm, states = machine(config, weights)
    expected = Reference(config, weights.dense).prefill([3, 1, 4, 1, 5])
    found = vm["score"](ids(3, 1, 4, 1, 5), *states)[0].numpy()
    error = ((found - expected) ** 2).sum() / (expected**2).sum()
    assert error < 1e-3
    # token by token gives the same: one rounding of activations, whatever the kernel
    for state in states:
        state.copyfrom(np.zeros(state.shape, np.float32))
    steps = [vm["step"](ids(t), *states)[0].numpy()[0] for t in (3, 1, 4, 1, 5)]
    np.testing.assert_allclose(np.stack(steps), found, rtol=1e-3, atol=1e-3)


def test_tied_embeddings_are_stored_once() -> None:
    config = mamba_config(
        vocab_size=48,
        d_model=16,
        d_inner=32,
        n_layer=1,
        d_state=4,
        d_conv=4,
        dt_rank=4,
        tie_embeddings=True,
    )
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.standard_normal(shape).astype(np.float32) * 0.3
        for name, shape in config.tensor_shapes().items()
    }
    module = build_model(config, ArrayCheckpoint({}, tensors), dtype="float32")
    addresses = set()

    def visit(expr: Any) -> None:
        if isinstance(expr, tvm.ir.expr.GenericConst) and tuple(expr.value.shape) == (48, 16):
            addresses.add(expr.value.data_ptr())

    for name in ("step", "prefill", "score"):
        tvm.relax.analysis.post_order_visit(module[name], visit)
    assert len(addresses) == 1
    vm, states = machine(config, ArrayCheckpoint({}, tensors))
    expected = Reference(config, lambda name: tensors[name]).step(5)
    found = vm["step"](ids(5), *states)[0].numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert config.embeddings in tensors


@pytest.mark.phone
def test_a_whole_model_runs_on_the_phone(tiny: Any, phone: Any) -> None:
    config, tensors = tiny
    weights = checkpoint(config, tensors, 2, "float16")
    executable = build(build_model(config, weights), "arm64-linux")
    shapes = config.state_shapes()
    states = [np.zeros(shape, np.float32) for shape in shapes]
    text = np.array([3, 1, 4, 1, 5], np.int32)
    found = phone.run_vm(executable, {"score": [text, *states]})["score"][0]
    expected = Reference(config, weights.dense).prefill(text)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
