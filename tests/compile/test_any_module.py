"""Modules of shapes that no frontend above makes: what TVM compiles is compiled, and equals it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.sparsity import mask_from_scores

X = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)


@I.ir_module(s_tir=True)
class Branches:
    """A condition, and no dataflow block."""

    @R.function
    def main(x: R.Tensor((4, 8), "float32"), c: R.Tensor((), "bool")) -> R.Tensor(
        (8, 4), "float32"
    ):
        if c:  # noqa: SIM108 - this is TVMScript
            y = R.permute_dims(R.exp(x))
        else:
            y = R.permute_dims(R.negative(x))
        return y


@I.ir_module(s_tir=True)
class Calls:
    """A function that calls another one, and returns a tuple."""

    @R.function
    def turn(x: R.Tensor((4, 8), "float32")) -> R.Tensor((8, 4), "float32"):
        with R.dataflow():
            y = R.permute_dims(x)
            R.output(y)
        return y

    @R.function
    def main(
        x: R.Tensor((4, 8), "float32"),
    ) -> R.Tuple(R.Tensor((8, 4), "float32"), R.Tensor((4, 8), "float32")):
        cls = Calls
        y = cls.turn(x)
        z = R.permute_dims(y)
        return (y, z)


@I.ir_module(s_tir=True)
class DataDependent:
    """Results whose shape the data decides."""

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor(dtype="int64", ndim=2):
        with R.dataflow():
            y = R.permute_dims(x)
            z = R.nonzero(R.greater(y, R.const(0.0, "float32")))
            R.output(z)
        return z


def without_dataflow() -> IRModule:
    """A sparse layer whose bindings are in no dataflow block, its weight a matrix on the left."""
    weight = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    weight *= mask_from_scores(np.abs(weight), 2)
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 8), "float32"))
    with bb.function("main", [x]):
        out = bb.emit(relax.op.matmul(relax.const(weight), x))
        bb.emit_func_output(out)
    return bb.get()


@I.ir_module(s_tir=True)
class OwnKernel:
    """A kernel of the user's own, whose shapes are int32, between layout ops of TVM."""

    @T.prim_func(s_tir=True)
    def double(x: T.Buffer((8, 4), "float32"), y: T.Buffer((8, 4), "float32")) -> None:
        for i, j in T.grid(8, 4):
            with T.sblock("double"):
                v, w = T.axis.remap("SS", [i, j])
                y[v, w] = x[v, w] * T.float32(2)

    @R.function
    def main(x: R.Tensor((4, 8), "float32")) -> R.Tensor((4, 8), "float32"):
        cls = OwnKernel
        with R.dataflow():
            a = R.permute_dims(R.exp(x))
            b = R.call_tir(cls.double, (a,), out_ty=R.Tensor((8, 4), "float32"))
            c = R.negative(R.permute_dims(b))
            R.output(c)
        return c


MODULES: dict[str, tuple[Callable[[], IRModule], list[np.ndarray]]] = {
    "branches": (lambda: Branches, [X, np.array(True)]),  # TVM's own build dies of False
    "calls": (lambda: Calls, [X]),
    "data dependent": (lambda: DataDependent, [X]),
    "own kernel": (lambda: OwnKernel, [X]),
    "without dataflow": (without_dataflow, [X]),
}


def run(executable: relax.VMExecutable, inputs: list[np.ndarray]) -> list[np.ndarray]:
    vm = relax.VirtualMachine(executable, tvm.cpu())
    found: Any = vm["main"](*[tvm.runtime.tensor(x) for x in inputs])
    return [found.numpy()] if hasattr(found, "numpy") else [part.numpy() for part in found]


@pytest.mark.parametrize("name", MODULES)
def test_what_tvm_compiles_is_compiled(name: str) -> None:
    make, inputs = MODULES[name]
    expected = run(relax.build(make(), resolve_target("host")), inputs)
    found = run(build(make()), inputs)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
