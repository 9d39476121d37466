"""Our phases beside what TVM people use: relax.build, tvm.compile, their own passes, BYOC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm.relax.dpl import is_op, wildcard

import tvm_c4n
from relay_passes import DecomposeLayoutOps, EliminateLayout, InlineCopies, RewriteDenseToC4n
from tvm_c4n._tvm import IRModule, Target, name_of, relax, tvm
from tvm_c4n.compile.build import build, pipeline
from tvm_c4n.compile.elf import read_elf
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import C4nError, TargetError
from tvm_c4n.ops.spec import LinearSpec, spec_of
from tvm_c4n.sparsity import mask_from_scores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 16)).astype(np.float32)


def sparse(rows: int, cols: int) -> np.ndarray:
    weight = RNG.normal(size=(rows, cols)).astype(np.float32)
    return weight * mask_from_scores(np.abs(weight), 2)


FIRST, SECOND = sparse(24, 16), sparse(8, 24)
EXPECTED = np.maximum(X @ FIRST.T, 0) @ SECOND.T


def model() -> IRModule:
    """Two layers with ReLU between them."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3, 16), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            hidden = bb.emit(relax.op.matmul(x, relax.const(FIRST.T.copy())))
            hidden = bb.emit(relax.op.nn.relu(hidden))
            out = bb.emit_output(relax.op.matmul(hidden, relax.const(SECOND.T.copy())))
        bb.emit_func_output(out)
    return bb.get()


def run(executable: Any) -> np.ndarray:
    vm = relax.VirtualMachine(executable, tvm.cpu())
    return vm["main"](tvm.runtime.tensor(X)).numpy()


@pytest.mark.parametrize("compile_", [relax.build, tvm.compile])
def test_tvms_entry_points_take_the_pipeline(compile_: Any) -> None:
    target = resolve_target("host")
    for given in (None, target, "host"):
        executable = compile_(model(), target, relax_pipeline=tvm_c4n.pipeline(given))
        np.testing.assert_allclose(run(executable), EXPECTED, rtol=1e-4, atol=1e-4)


def test_tvm_knows_it_by_name() -> None:
    target = resolve_target("host")
    for found in ("c4n", relax.get_pipeline("c4n", target=target)):
        executable = relax.build(model(), target, relax_pipeline=found)
        np.testing.assert_allclose(run(executable), EXPECTED, rtol=1e-4, atol=1e-4)


def test_kernels_are_for_the_target_that_tvm_compiles_for(arm_linker: None, tmp_path: Path) -> None:
    """Kernels for the host would end this process: LLVM aborts."""
    executable = relax.build(model(), resolve_target("arm64-linux"), relax_pipeline="c4n")
    library = tmp_path / "model.so"
    executable.export_library(str(library), fcompile=make_fcompile("aarch64-linux-gnu"))
    assert read_elf(library).machine == "aarch64"


def test_a_target_that_is_given_twice_must_agree() -> None:
    with pytest.raises(
        TargetError, match=r"is for llvm aarch64.* TVM compiles for llvm .*the same"
    ):
        relax.build(model(), resolve_target("host"), relax_pipeline=pipeline("arm64-linux"))
    with pytest.raises(TargetError, match="no current target"):
        relax.build(model(), relax_pipeline=pipeline("host"))
    with pytest.raises(TargetError, match="unknown target 'esp32'"):
        pipeline("esp32")
    with pytest.raises(TargetError, match="no kernels for targets of kind 'metal'"):
        relax.build(model(), Target("metal"), relax_pipeline="c4n")


@pytest.mark.parametrize(
    ("returned", "shown"),
    [(None, "None"), ([("a", None)], r"a list with \('a', None\)"), ("ab", "'ab'"), ([3], "3")],
)
def test_extending_to_anything_but_phases_is_an_error_that_shows_it(
    returned: Any, shown: str
) -> None:
    extended = pipeline(extend=lambda _: returned)
    with pytest.raises(C4nError, match=f"extend must return the list of phases .*not .*{shown}"):
        relax.build(model(), resolve_target("host"), relax_pipeline=extended)


def test_users_put_their_own_passes_in() -> None:
    seen: list[IRModule] = []

    @tvm.transform.module_pass(opt_level=0)
    def look(mod: IRModule, _: Any) -> IRModule:
        seen.append(mod)
        return mod

    def extend(phases: Any) -> Any:
        names = [name for name, _ in phases]
        phases.insert(names.index("repack"), ("look", [look]))
        return phases

    relax.build(model(), resolve_target("host"), relax_pipeline=pipeline("host", extend=extend))
    (mod,) = seen
    found = [spec_of(func) for _, func in mod.functions_items()]
    assert sum(isinstance(spec, LinearSpec) for spec in found) == 2


def test_passes_work_in_tvms_own_sequence() -> None:
    t, target = relax.transform, resolve_target("host")
    passes = [t.FoldConstant(), RewriteDenseToC4n(), DecomposeLayoutOps(), t.LegalizeOps()]
    passes += [
        t.AnnotateTIROpPattern(),
        t.FuseOps(),
        t.FuseTIR(),
        InlineCopies(),
        EliminateLayout(),
    ]
    with target:
        mod = tvm.transform.Sequential(passes)(model())
    np.testing.assert_allclose(run(relax.build(mod, target)), EXPECTED, rtol=1e-4, atol=1e-4)


@tvm.register_global_func("relax.ext.c4n_test_backend", override=True)
def _other_compiler(functions: Any, _options: Any, _constants: Any) -> list[Any]:
    """Another compiler: multiplies with numpy, in the calling convention of BYOC."""
    for function in functions:
        name = str(function.attrs["global_symbol"])

        def matmul_relu(x: Any, w: Any, out: Any) -> None:
            out.copyfrom(np.maximum(x.numpy() @ w.numpy(), 0))

        tvm.register_global_func(name, matmul_relu, override=True)
    return []  # the virtual machine finds them by name


def test_partitions_of_another_compiler_are_left_alone() -> None:
    """The first layer goes to another compiler through FuseOpsByPattern, the second to us."""
    weight = relax.dpl.is_const()
    pattern = is_op("relax.matmul")(wildcard(), weight)
    relu = is_op("relax.nn.relu")(pattern)
    partition = relax.transform.FuseOpsByPattern(
        [("c4n_test_backend.matmul_relu", relu)], bind_constants=False, annotate_codegen=True
    )
    mod = partition(model())
    theirs = {
        name_of(gvar): func
        for gvar, func in mod.functions_items()
        if func.attrs is not None and "Codegen" in func.attrs
    }
    assert len(theirs) == 1
    after = RewriteDenseToC4n()(mod)
    found = [spec for _, f in after.functions_items() if isinstance(spec := spec_of(f), LinearSpec)]
    assert [(spec.rows, spec.cols) for spec in found] == [(8, 24)]
    for name, func in theirs.items():
        tvm.ir.assert_structural_equal(after[name], func)
    executable = build(relax.transform.RunCodegen()(mod))
    np.testing.assert_allclose(run(executable), EXPECTED, rtol=1e-4, atol=1e-4)


def test_long_loops_are_taken_in_chunks() -> None:
    """By `build`, and by `relax.build` with the lowering that is named as the pipeline is."""
    rows, cols = 1024, 512
    weight = sparse(rows, cols)
    x = RNG.normal(size=(1, cols)).astype(np.float32)
    bb = relax.BlockBuilder()
    var = relax.Var("x", relax.TensorType((1, cols), "float32"))
    with bb.function("main", [var]):
        with bb.dataflow():
            out = bb.emit_output(relax.op.matmul(var, relax.const(weight.T.copy())))
        bb.emit_func_output(out)
    mod, target = bb.get(), resolve_target("host")
    for executable, taken in (
        (build(mod, target), True),
        (relax.build(mod, target, relax_pipeline="c4n", tir_pipeline="c4n"), True),
        (relax.build(mod, target, relax_pipeline="c4n"), False),
    ):
        kernels = executable.mod.imports[0].inspect_source("ll")
        assert ("atomicrmw" in kernels) == taken
        vm = relax.VirtualMachine(executable, tvm.cpu())
        found = vm["main"](tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(found, x @ weight.T, rtol=1e-4, atol=1e-4)
