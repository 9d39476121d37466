"""`build` on modules from every frontend: the numbers are those of TVM's own dense build."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay_passes import RewriteDenseToC4n
from tests.zoo import ZOO, Case
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.spec import LinearSpec, spec_of

# Different dense layers that n = 2 makes sparse, counted by hand (equal shapes once).
LAYERS = {
    "mlp": 3,
    "shared": 1,
    "odd": 1,
    "channels_first": 3,
    "gemm_onnx": 2,
    "attention_onnx": 2,
    "mlp_nn": 2,
    "half_nn": 2,
    "block": 4,
    "dynamic_block": 4,
    "tied": 2,
    "vit": 5,
    "swin": 10,
    "conv_net": 3,
    "mamba": 5,
    "mamba_step": 4,
    "mamba_prefill": 4,
}
SLOW = {"swin", "mamba", "mamba_prefill", "vit", "block", "dynamic_block", "conv_net"}
SLOW |= {"tied", "half_nn", "odd"}
QUICK_ON_THE_PHONE = {"conv_net"}


def names(slow: set[str]) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] if n in slow else []) for n in ZOO]


def run(executable: relax.VMExecutable, inputs: list[np.ndarray]) -> np.ndarray:
    vm = relax.VirtualMachine(executable, tvm.cpu())
    return flat(vm["main"](*[tvm.runtime.tensor(x) for x in inputs]))


def flat(result: Any) -> np.ndarray:
    """A result as one array; several are joined."""
    if isinstance(result, np.ndarray) or hasattr(result, "numpy"):
        return result if isinstance(result, np.ndarray) else result.numpy()
    return np.concatenate([flat(part).ravel() for part in result])


def dense(case: Case) -> np.ndarray:
    """What TVM's own build of the module gives."""
    return run(relax.build(case.mod, resolve_target("host")), case.inputs)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    top = np.abs(expected.astype(np.float64)).max()
    assert top > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * top)


def linears(mod: IRModule) -> list[LinearSpec]:
    found = (spec_of(func) for _, func in mod.functions_items())
    return [spec for spec in found if isinstance(spec, LinearSpec)]


@pytest.mark.parametrize("name", names(SLOW))
def test_sparse_modules_equal_tvms_dense_build(name: str) -> None:
    case = ZOO[name](2, False)
    folded = relax.transform.FoldConstant()(case.mod)
    specs = linears(RewriteDenseToC4n()(folded))
    assert len(specs) == LAYERS[name]
    assert {spec.removed for spec in specs} == {2}
    assert_close(run(build(case.mod), case.inputs), dense(case), case.tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ZOO))
def test_dense_modules_equal_tvms_build(name: str) -> None:
    case = ZOO[name](0, False)
    assert linears(RewriteDenseToC4n()(relax.transform.FoldConstant()(case.mod))) == []
    assert_close(run(build(case.mod), case.inputs), dense(case), case.tolerance)


def test_a_dynamic_module_takes_every_length() -> None:
    case = ZOO["dynamic_block"](3, False)
    target = resolve_target("host")
    ours = relax.VirtualMachine(build(case.mod), tvm.cpu())
    theirs = relax.VirtualMachine(relax.build(case.mod, target), tvm.cpu())
    rng = np.random.default_rng(0)
    for tokens in (2, 5, 64, 3):
        x = tvm.runtime.tensor(rng.standard_normal((1, tokens, 32)).astype(np.float32))
        assert_close(ours["main"](x).numpy(), theirs["main"](x).numpy(), case.tolerance)


@pytest.mark.phone
@pytest.mark.parametrize("name", names(set(ZOO) - QUICK_ON_THE_PHONE))
def test_modules_run_on_the_phone(phone: Any, name: str) -> None:
    case = ZOO[name](2, False)
    found = phone.run_vm(build(case.mod, "arm64-linux"), {"main": case.inputs})["main"]
    assert_close(flat(found), dense(case), case.tolerance)
