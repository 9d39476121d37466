"""TVM's pattern registry finds the dense layers that the pipeline would take, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from tvm.relax.backend.pattern_registry import get_pattern, get_patterns_with_prefix

from tests.relay_passes.linear_case import WEIGHT
from tvm_c4n._tvm import IRModule, relax, tvm

BIAS = np.arange(4, dtype=np.float32)
DENSE = np.ones((4, 8), np.float32)
LAYERS = {
    "transposed": (
        lambda x: relax.op.matmul(x, relax.op.permute_dims(relax.const(WEIGHT))),
        "c4n.linear",
    ),
    "plain": (lambda x: relax.op.matmul(x, relax.const(WEIGHT.T.copy())), "c4n.linear"),
    "channels first": (
        lambda x: relax.op.matmul(relax.const(WEIGHT), relax.op.permute_dims(x)),
        "c4n.linear",
    ),
    "convolution": (
        lambda x: relax.op.nn.conv1d(
            relax.op.reshape(x, (1, 8, 1)), relax.const(WEIGHT[:, :, None].copy())
        ),
        "c4n.linear",
    ),
    "bias": (
        lambda x: relax.op.add(
            relax.const(BIAS), relax.op.matmul(x, relax.op.permute_dims(relax.const(WEIGHT)))
        ),
        "c4n.linear_bias",
    ),
    "a number for all": (
        lambda x: relax.op.add(
            relax.op.matmul(x, relax.op.permute_dims(relax.const(WEIGHT))), relax.const(1.0)
        ),
        "c4n.linear",
    ),
    "dense": (lambda x: relax.op.matmul(x, relax.op.permute_dims(relax.const(DENSE))), None),
    "two inputs": (lambda x: relax.op.matmul(x, relax.op.permute_dims(x)), None),
}


def module(layer) -> IRModule:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 8), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(bb.normalize(layer(x)))
        bb.emit_func_output(out)
    return relax.transform.Normalize()(bb.get())


@pytest.mark.parametrize("name", LAYERS)
def test_layers_with_c4n_weights_are_found(name: str) -> None:
    layer, expected = LAYERS[name]
    mod = module(layer)
    found = relax.transform.FuseOpsByPattern(get_patterns_with_prefix("c4n"))(mod)
    names = [f.attrs["Composite"] for _, f in found.functions_items() if "Composite" in f.attrs]
    assert names == ([expected] if expected else [])


def test_a_partitioned_module_computes_the_same() -> None:
    mod = module(LAYERS["bias"][0])
    split = relax.transform.FuseOpsByPattern([get_pattern("c4n.linear_bias")])(mod)
    assert len(split.functions) == 2
    x = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    for each in (mod, split):
        machine = relax.VirtualMachine(relax.build(each, "llvm"), tvm.cpu())
        out = machine["main"](tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(out, x @ WEIGHT.T + BIAS, rtol=1e-6)
