"""Modules built for the target adreno: every kernel runs on pocl, in the order of the module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tvm_c4n
from tests.zoo import ZOO
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.compile.build import phases_for, prepare
from tvm_c4n.compile.convert import converter
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.spec import spec_of

MODULES = ("mlp", "channels_first", "odd")


def run(device: Any, mod: IRModule, inputs: list[np.ndarray]) -> np.ndarray:
    """Do what TVM's virtual machine would do with a module of static shapes."""
    main = mod["main"]
    known: dict[Any, Any] = dict(zip(main.params, inputs, strict=True))

    def value_of(expr: Any) -> Any:
        return known[expr] if isinstance(expr, relax.Var) else expr.value.numpy()

    for binding in (b for block in main.body.blocks for b in block.bindings):
        value = binding.value
        if isinstance(value, relax.Var):
            known[binding.var] = known[value]
        elif isinstance(value, relax.TupleGetItem):
            known[binding.var] = known[value.tuple_value][value.index]
        else:
            known[binding.var] = _call(device, mod, value, [value_of(a) for a in value.args[1]])
    found: np.ndarray = known[main.body.body]
    return found


def _call(device: Any, mod: IRModule, call: relax.Call, inputs: list[np.ndarray]) -> Any:
    assert call.op.name == "relax.call_tir"
    func, out = mod[call.args[0]], call.ty_args[0]
    fields = list(out.fields) if isinstance(out, relax.TupleType) else [out]
    results = [np.zeros([int(n) for n in f.shape], str(f.dtype)) for f in fields]
    names = [parameter.name for parameter in func.params]
    # C4n kernels take any number of tokens, even where the module's is known.
    tokens = len(results[0]) if results[0].ndim else 1
    after = device.run(func, dict(zip(names, [*inputs, *results], strict=True)), tokens)
    made = [after[name] for name in names[len(inputs) :]]
    return made if isinstance(out, relax.TupleType) else made[0]


def dense(mod: IRModule, inputs: list[np.ndarray]) -> np.ndarray:
    vm = relax.VirtualMachine(relax.build(mod, resolve_target("host")), tvm.cpu())
    return vm["main"](*[tvm.runtime.tensor(x) for x in inputs]).numpy()


@pytest.mark.parametrize(
    "name", [MODULES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in MODULES[1:])]
)
def test_a_modules_kernels_give_tvms_dense_result(device: Any, name: str) -> None:
    case = ZOO[name](2, False)
    select = selector(resolve_target("adreno"))
    mod = prepare(case.mod, select, phases_for(select, lift=False))
    expected = dense(case.mod, case.inputs)
    found = run(device, mod, case.inputs)
    names = [f.attrs["c4n.schedule"] for _, f in mod.functions_items() if spec_of(f)]
    assert set(names) == {"opencl_linear"}
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=case.tolerance * np.abs(expected).max()
    )


@pytest.mark.slow
def test_a_recipe_gives_integer_kernels(device: Any) -> None:
    case = ZOO["mlp"](0, False)
    recipe = tvm_c4n.Recipe(removed=1, method="magnitude", dtype="int4")
    selectors = [selector(resolve_target(t)) for t in ("adreno", "host")]
    mods = [
        prepare(case.mod, select, phases_for(select, lift=False, convert=converter(recipe)))
        for select in selectors
    ]
    kinds = {spec.kind for _, f in mods[0].functions_items() if (spec := spec_of(f))}
    assert kinds == {"linear", "quantize"}
    found = run(device, mods[0], case.inputs)
    host = tvm_c4n.build(case.mod, "host", recipe=recipe)
    expected = relax.VirtualMachine(host, tvm.cpu())["main"](tvm.runtime.tensor(case.inputs[0]))
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-3)
