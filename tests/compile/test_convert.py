"""Recipes and parameters of `build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tvm.relax.frontend.torch import from_exported_program

from relay_passes import RewriteDenseToC4n
from tests.zoo import ZOO
from tests.zoo.case import export, prune_torch
from tvm_c4n import Recipe
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.convert import converter
from tvm_c4n.errors import RecipeError
from tvm_c4n.ops.spec import spec_of


def run(executable: relax.VMExecutable, inputs: list[np.ndarray]) -> np.ndarray:
    vm = relax.VirtualMachine(executable, tvm.cpu())
    return vm["main"](*[tvm.runtime.tensor(x) for x in inputs]).numpy()


def error(recipe: dict[str, Any]) -> float:
    """Relative error of a module of several layers, by norm."""
    case = ZOO["mlp"](0, False)
    exact = run(build(case.mod), case.inputs)
    found = run(build(case.mod, recipe=Recipe(method="magnitude", **recipe)), case.inputs)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.slow
def test_quantising_costs_what_its_bits_say() -> None:
    half, byte = (error({"removed": 0, "dtype": d}) for d in ("float16", "int8"))
    assert 0 < half < 1e-3 < byte < 0.02


def test_pruning_a_dense_module_changes_it() -> None:
    assert 0.01 < error({"removed": 1, "dtype": "int8"}) < error({"removed": 3, "dtype": "int8"})


def test_a_weight_is_pruned_by_magnitude_and_never_less_than_it_was() -> None:
    weight = np.array([[4, -3, 2, 1, 0, 0, 0, 5]], np.float32)
    packed = converter(Recipe(removed=2, method="magnitude"))(weight)
    assert packed is not None
    np.testing.assert_array_equal(packed.dense(), [[4, -3, 0, 0, 0, 0, 0, 5]])
    sparse = np.array([[0, 0, 0, 7, 0, 5, 0, 0]], np.float32)
    kept = converter(Recipe(removed=1, method="magnitude"))(sparse)
    assert kept is not None
    assert kept.removed == 3
    np.testing.assert_array_equal(kept.dense(), sparse)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(), "method='obs' needs calibration data"),
        (Recipe(method="magnitude", removed={"in_proj": 2}), "removed names projections"),
    ],
)
def test_recipes_that_a_module_cannot_follow_are_refused(recipe: Recipe, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        converter(recipe)


def test_parameters_are_bound_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 16)).astype(np.float32) * ([0, 0, 1, 1] * 4)
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 16), "float32"))
    w = relax.Var("w", relax.TensorType((8, 16), "float32"))
    with bb.function("main", [x, w]):
        with bb.dataflow():
            turned = bb.emit(relax.op.permute_dims(w))
            out = bb.emit_output(relax.op.matmul(x, turned))
        bb.emit_func_output(out)
    data = rng.standard_normal((1, 16)).astype(np.float32)
    for value in (weight.astype(np.float32), tvm.runtime.tensor(weight.astype(np.float32))):
        found = run(build(bb.get(), params={"w": value}, debug_dump=tmp_path), [data])
        np.testing.assert_allclose(found, data @ weight.T, rtol=1e-5, atol=1e-5)
        assert "c4n_gemv" in (tmp_path / "4_bind.py").read_text()


def test_parameters_that_a_frontend_keeps_apart_are_bound(tmp_path: Path) -> None:
    """What TVM users have after ``keep_params_as_input`` and `detach_params`."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 8))
    prune_torch(model, 2)
    x = torch.randn(3, 16)
    program = torch.export.export(model.eval(), (x,))
    mod = from_exported_program(program, keep_params_as_input=True, unwrap_unit_return_tuple=True)
    mod, values = relax.frontend.detach_params(mod)
    names = [param.name for param in mod["main"].params][1:]
    params = dict(zip(names, values["main"], strict=True))
    found = run(build(mod, params=params, debug_dump=tmp_path), [x.numpy()])
    expected = model(x).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    counts = (tmp_path / "4_bind.txt").read_text()
    assert counts.count("call_tir linear") == 2
    assert "relax.matmul" not in counts


def test_every_layer_keeps_its_own_pattern() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(16, 16, bias=False) for _ in range(4)]
    for removed, layer in enumerate(layers):
        prune_torch(layer, removed)
    model = torch.nn.Sequential(*layers)
    x = torch.randn(2, 16)
    mod = relax.transform.FoldConstant()(export(model, [x]))
    after = RewriteDenseToC4n()(mod)
    specs = [spec for _, f in after.functions_items() if (spec := spec_of(f)) is not None]
    assert sorted(spec.removed for spec in specs) == [1, 2, 3]  # the dense one is left to TVM
    found = run(build(mod), [x.numpy()])
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-5, atol=1e-5)
