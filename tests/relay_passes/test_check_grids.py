"""CheckGrids: a kernel without a grid is refused, by every way into the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

import tvm_c4n
from relay_passes import CheckGrids
from tvm_c4n._tvm import IRModule, relax
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TargetError


@I.ir_module(s_tir=True)
class OwnLoop:
    """A kernel of the user's own, a loop without blocks: TVM's schedules leave it alone."""

    @T.prim_func(s_tir=True)
    def add_one(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")) -> None:
        for i in range(4):
            y[i] = x[i] + T.float32(1)

    @R.function
    def main(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        cls = OwnLoop
        with R.dataflow():
            y = R.call_tir(cls.add_one, (x,), out_ty=R.Tensor((4,), "float32"))
            R.output(y)
        return y


def through_relax(mod: IRModule) -> Any:
    return relax.build(mod, resolve_target("adreno"), relax_pipeline=tvm_c4n.pipeline("adreno"))


@pytest.mark.parametrize(
    "compile_", [CheckGrids(), lambda mod: tvm_c4n.build(mod, "adreno"), through_relax]
)
def test_a_kernel_without_a_grid_is_refused(compile_: Callable[[IRModule], Any]) -> None:
    with pytest.raises(
        TargetError, match="no GPU schedule for kernel 'add_one': compile for a CPU"
    ):
        compile_(OwnLoop)
