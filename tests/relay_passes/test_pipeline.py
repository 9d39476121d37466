"""Pipeline: phases are cut, left out and numbered by name, and the order of the build's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import relax as R

from relay_passes.pipeline import Phases, Pipeline, c4n_pipeline
from tests.relay_passes.c4n_layer import CHOOSE, layer, run, weight_of
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.ops.isa import PORTABLE


@I.ir_module
class Module:
    """Any module."""

    @R.function
    def main(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        return x


def logging_pipeline(log: list[str], names: str = "abcd", **fields: Any) -> Pipeline:
    """One phase for each letter; each writes its letter into the log."""

    def named(name: str) -> Any:
        @tvm.transform.module_pass(opt_level=0, name=name)
        def log_it(mod: IRModule, _: Any) -> IRModule:
            log.append(name)
            return mod

        return log_it

    return Pipeline.of(((name, [named(name)]) for name in names), **fields)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (lambda p: p, "abcd"),
        (lambda p: p.until("c"), "ab"),
        (lambda p: p.since("c"), "cd"),
        (lambda p: p.without("b"), "acd"),
        (lambda p: p.since("b").until("d").without("c"), "b"),
        (lambda p: p.until("a"), ""),
    ],
)
def test_the_phases_that_are_left_run_in_order(cut: Any, expected: str) -> None:
    log: list[str] = []
    found = cut(logging_pipeline(log))
    assert found.names == tuple(expected)
    found(Module)
    assert log == [*expected]


@pytest.mark.parametrize("method", ["until", "since", "without"])
def test_an_unknown_phase_is_an_error_that_names_the_known_ones(method: str) -> None:
    with pytest.raises(ValueError, match="no phase is named 'x'; there are a, b, c, d"):
        getattr(logging_pipeline([]), method)("x")


def test_two_phases_have_two_names() -> None:
    with pytest.raises(ValueError, match="the same name: a, a"):
        logging_pipeline([], "aa")


def test_dumps_are_numbered_without_gaps_over_both_halves_of_a_pipeline(tmp_path: Path) -> None:
    pipeline = logging_pipeline([], dump=tmp_path).without("b")
    pipeline.until("d")(Module)
    pipeline.since("d")(Module)
    assert {file.stem for file in tmp_path.iterdir()} == {"1_a", "2_c", "3_d"}


def test_extending_gets_lists_and_leaves_the_pipeline_as_it_is() -> None:
    pipeline = logging_pipeline([])

    def extend(phases: Phases) -> Phases:
        phases.insert(1, ("new", []))
        phases[0][1].clear()
        return phases

    assert pipeline.extended(extend).names == ("a", "new", "b", "c", "d")
    assert pipeline.names == ("a", "b", "c", "d")
    assert len(pipeline.phases[0].passes) == 1


def test_a_build_has_these_phases() -> None:
    def names(**options: bool) -> str:
        return " ".join(c4n_pipeline(4, lambda _: None, **options).names)

    assert names() == "dispatch rewrite repack bind fuse legalize layout lower memory"
    assert names(lift=True) == "dispatch rewrite repack bind fuse legalize layout lift lower memory"
    assert names(gpu=True) == "dispatch rewrite repack bind legalize grid lower memory"


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
        "repack",
        "bind",
        "fuse",
        "legalize",
        "layout",
        "lower",
        "memory",
    )
    assert names == [f"{number}_{name}" for number, name in enumerate(phases, 1)]
