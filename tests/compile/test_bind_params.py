"""`params=` of `build`: which functions get values bound, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import relax as R

from tvm_c4n._tvm import IRModule, relax, tirx, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.errors import C4nError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 8)).astype(np.float32)
W = RNG.normal(size=(8, 8)).astype(np.float32)


@I.ir_module(s_tir=True)
class Layers:
    """Functions that others call have a parameter of the same name: a private and a public one."""

    @R.function(private=True)
    def layer(x: R.Tensor((4, 8), "float32"), w: R.Tensor((8, 8), "float32")) -> R.Tensor(
        (4, 8), "float32"
    ):
        with R.dataflow():
            y = R.matmul(x, w)
            R.output(y)
        return y

    @R.function
    def visible(x: R.Tensor((4, 8), "float32"), w: R.Tensor((8, 8), "float32")) -> R.Tensor(
        (4, 8), "float32"
    ):
        cls = Layers
        y = cls.layer(x, w)
        return y

    @R.function
    def main(x: R.Tensor((4, 8), "float32"), w: R.Tensor((8, 8), "float32")) -> R.Tensor(
        (4, 8), "float32"
    ):
        cls = Layers
        y = cls.layer(x, w)
        z = cls.visible(y, w)
        return z


def run(mod: IRModule, name: str, params: dict[str, Any], *inputs: np.ndarray) -> np.ndarray:
    vm = relax.VirtualMachine(build(mod, params=params), tvm.cpu())
    found: np.ndarray = vm[name](*map(tvm.runtime.tensor, inputs)).numpy()
    return found


@pytest.mark.parametrize("value", [W, tvm.runtime.tensor(W)])
def test_functions_that_others_call_keep_their_parameters(value: Any) -> None:
    np.testing.assert_allclose(run(Layers, "main", {"w": value}, X), X @ W @ W, rtol=1e-4)
    np.testing.assert_allclose(run(Layers, "visible", {"w": value}, X, W), X @ W, rtol=1e-4)


def test_unknown_names_are_an_error_with_the_nearest() -> None:
    message = r"has a parameter 'weight' \(nearest: 'w'\), '\?'"
    with pytest.raises(C4nError, match=message):
        build(Layers, params={"w": W, "weight": W, "?": W})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (W[:7], r"'w' of function 'main' is .*\(8, 8\).*the given tensor is \[7, 8\] of float32"),
        (W[0], r"the given tensor is \[8\] of float32"),
        (W.astype(np.float64), "the given tensor is .* of float64"),
        ([1.0], "'w' is a list: give an array of numpy"),
    ],
)
def test_a_tensor_that_does_not_fit_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(C4nError, match=message) as caught:
        build(Layers, params={"w": value})
    assert "\n" not in str(caught.value)


def test_a_parameter_may_leave_its_lengths_open() -> None:
    bb, n = relax.BlockBuilder(), tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n, 8), "float32"))
    with bb.function("main", [x]):
        bb.emit_func_output(bb.emit(relax.op.exp(x)))
    np.testing.assert_allclose(run(bb.get(), "main", {"x": X}), np.exp(X), rtol=1e-5)
