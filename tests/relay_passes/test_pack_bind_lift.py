"""PackWeights, BindSchedules, LiftConstants and DumpModule on one C4n layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schedules
from relay_passes import BindSchedules, DumpModule, LiftConstants, PackWeights
from relay_passes.pipeline import c4n_pipeline
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.attrs import CONSTANTS
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import LinearSpec, spec_of
from tvm_c4n.sparsity import C4nWeight, from_dense, mask_from_scores

CHOOSE = partial(schedules.choose, isa=PORTABLE)


def weight_of(dtype: str) -> C4nWeight:
    dense = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    return from_dense(dense, 2, dtype, mask=mask_from_scores(np.abs(dense), 2))


def layer(weight: C4nWeight, functions: tuple[str, ...] = ("main",)) -> IRModule:
    """Functions that share one C4n weight."""
    bb, pool = relax.BlockBuilder(), ConstantPool()
    for name in functions:
        x = relax.Var("x", relax.TensorType((1, 64), "float32"))
        with bb.function(name, [x]):
            with bb.dataflow():
                out = bb.emit_output(c4n_linear.emit(Emitter(bb, 1, pool), x, weight))
            bb.emit_func_output(out)
    return bb.get()


def linear_of(mod: IRModule) -> Any:
    """The PrimFunc of the linear operator."""
    return next(f for _, f in mod.functions_items() if isinstance(spec_of(f), LinearSpec))


def constants_of(mod: IRModule, name: str) -> list[np.ndarray]:
    found: list[np.ndarray] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, tvm.ir.expr.GenericConst):
            found.append(expr.value.numpy())

    relax.analysis.post_order_visit(mod[name], visit)
    return found


def run(mod: IRModule, x: np.ndarray) -> np.ndarray:
    vm = relax.VirtualMachine(relax.build(mod, Target({"kind": "llvm"})), tvm.cpu())
    return vm["main"](tvm.runtime.tensor(x)).numpy()


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
def test_packing_changes_the_constants_and_not_the_numbers(dtype: str) -> None:
    weight, before = weight_of(dtype), layer(weight_of(dtype))
    after = PackWeights(8)(before)
    spec = spec_of(linear_of(after))
    assert spec.lanes == 8
    for found, expected in zip(constants_of(after, "main"), [repack(weight, spec)], strict=True):
        np.testing.assert_array_equal(found, expected)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(PackWeights(8)(after), after)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-6)


def test_binding_replaces_bodies_once_and_keeps_the_numbers() -> None:
    packed = PackWeights(PORTABLE.lanes)(layer(weight_of("int8")))
    bound = BindSchedules(CHOOSE)(packed)
    assert str(linear_of(bound).attrs["c4n.schedule"]) == "c4n_gemv"
    assert spec_of(linear_of(bound)) == spec_of(linear_of(packed))
    relax.analysis.well_formed(bound)  # raises
    tvm.ir.assert_structural_equal(BindSchedules(CHOOSE)(bound), bound)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    np.testing.assert_allclose(run(bound, x), run(packed, x), rtol=1e-5, atol=1e-5)


def test_a_rule_that_does_not_apply_leaves_the_definition() -> None:
    raw = layer(weight_of("int8"))  # no rule reads the checkpoint's form
    bound = BindSchedules(CHOOSE)(raw)
    assert "c4n.schedule" not in linear_of(bound).attrs


def test_lifting_shares_parameters_between_functions() -> None:
    before = PackWeights(4)(layer(weight_of("int8"), ("first", "second")))
    after = LiftConstants()(before)
    constants = [c.numpy() for c in after.attrs[CONSTANTS]]
    assert len(constants) == 1  # the packed weight, once for both functions
    for name in ("first", "second"):
        assert constants_of(after, name) == []
        assert len(after[name].params) == 1 + len(constants)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(LiftConstants()(after), after)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    vm = relax.VirtualMachine(
        relax.build(after.without_attr(CONSTANTS), Target({"kind": "llvm"})), tvm.cpu()
    )
    weights = [tvm.runtime.tensor(c) for c in constants]
    found = vm["second"](tvm.runtime.tensor(x), *weights).numpy()
    np.testing.assert_allclose(found, run(layer(weight_of("int8")), x), rtol=1e-5, atol=1e-5)


def test_dump_writes_the_module_and_its_counts(tmp_path: Path) -> None:
    mod = layer(weight_of("int8"))
    assert DumpModule(tmp_path / "d", "1_start")(mod).same_as(mod)
    assert "def main" in (tmp_path / "d" / "1_start.py").read_text()
    counts = (tmp_path / "d" / "1_start.txt").read_text().split("\n")
    assert "     1  call_tir linear" in counts
    assert "     1  call_tir quantize" in counts


def test_the_pipeline_serves_relax_build(tmp_path: Path) -> None:
    mod = layer(weight_of("int8"))
    pipeline = c4n_pipeline(PORTABLE.lanes, CHOOSE, dump=tmp_path).as_pass()
    executable = relax.build(mod, Target({"kind": "llvm"}), relax_pipeline=pipeline)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    vm = relax.VirtualMachine(executable, tvm.cpu())
    found = vm["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, run(mod, x), rtol=1e-5, atol=1e-5)
    names = sorted(path.stem for path in tmp_path.glob("*.py"))
    phases = (
        "dispatch",
        "rewrite",
        "pack",
        "bind",
        "fuse",
        "legalize",
        "layout",
        "lower",
        "memory",
    )
    assert names == [f"{number}_{name}" for number, name in enumerate(phases, 1)]
