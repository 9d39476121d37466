"""RewriteDenseToC4n: Before and Expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import relax as R

from relay_passes import RewriteDenseToC4n
from tests.relay_passes.dense_case import WEIGHT_1, WEIGHT_3, Stored1, Stored3, StoredBatched
from tests.relay_passes.linear_case import WEIGHT, Stored
from tvm_c4n._tvm import IRModule, Target, relax, tvm


def transposed(weight: np.ndarray) -> IRModule:
    """``x @ permute_dims(W)``: torch's way."""

    @I.ir_module(s_tir=True)
    class Module:
        @R.function
        def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
            with R.dataflow():
                lv = R.permute_dims(R.const(weight))
                gv = R.matmul(x, lv)
                R.output(gv)
            return gv

    return Module


def plain(weight: np.ndarray) -> IRModule:
    """``x @ M``: the weight's transpose is the constant."""
    right = np.ascontiguousarray(weight.T)

    @I.ir_module(s_tir=True)
    class Module:
        @R.function
        def main(x: R.Tensor((1, 8), "float32")) -> R.Tensor((1, 4), "float32"):
            with R.dataflow():
                gv = R.matmul(x, R.const(right))
                R.output(gv)
            return gv

    return Module


@I.ir_module(s_tir=True)
class Batched:
    """``x @ permute_dims(W)`` for two sequences of three tokens."""

    @R.function
    def main(x: R.Tensor((2, 3, 8), "float32")) -> R.Tensor((2, 3, 4), "float32"):
        with R.dataflow():
            lv = R.permute_dims(R.const(WEIGHT))
            gv = R.matmul(x, lv)
            R.output(gv)
        return gv


@pytest.mark.parametrize("form", [transposed, plain])
@pytest.mark.parametrize(
    ("weight", "expected"),
    [(WEIGHT_1, Stored1), (WEIGHT, Stored), (WEIGHT_3, Stored3)],
    ids=["n=1", "n=2", "n=3"],
)
def test_matmul_becomes_the_operator(form: Any, weight: np.ndarray, expected: IRModule) -> None:
    after = RewriteDenseToC4n()(form(weight))
    tvm.ir.assert_structural_equal(after, expected, map_free_vars=True)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(after), after)


def test_leading_dimensions_become_tokens() -> None:
    after = RewriteDenseToC4n()(Batched)
    tvm.ir.assert_structural_equal(after, StoredBatched, map_free_vars=True)


ZEROS = np.zeros((6, 4), np.float32)


@I.ir_module(s_tir=True)
class SixColumns:
    """Nothing but zeros, in columns that are no multiple of four."""

    @R.function
    def main(x: R.Tensor((1, 6), "float32")) -> R.Tensor((1, 4), "float32"):
        with R.dataflow():
            gv = R.matmul(x, R.const(ZEROS))
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Argument:
    """The weight is an argument."""

    @R.function
    def main(x: R.Tensor((1, 16), "float32"), w: R.Tensor((16, 8), "float32")) -> R.Tensor(
        (1, 8), "float32"
    ):
        with R.dataflow():
            gv = R.matmul(x, w)
            R.output(gv)
        return gv


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(transposed(np.ones((4, 8), np.float32)), id="no zeros"),
        pytest.param(SixColumns, id="six columns"),
        pytest.param(Argument, id="an argument"),
    ],
)
def test_other_layers_are_left_alone(before: IRModule) -> None:
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(before), before)


@pytest.mark.parametrize(
    ("before", "weight", "shape"),
    [
        (transposed(WEIGHT), WEIGHT, (1, 8)),
        (plain(WEIGHT_1), WEIGHT_1, (1, 8)),
        (plain(WEIGHT_3), WEIGHT_3, (1, 8)),
        (Batched, WEIGHT, (2, 3, 8)),
    ],
)
def test_the_numbers_stay(before: IRModule, weight: np.ndarray, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    module = RewriteDenseToC4n()(before)
    vm = relax.VirtualMachine(relax.build(module, Target({"kind": "llvm"})), tvm.cpu())
    found = vm["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, x @ weight.T, rtol=1e-5, atol=1e-5)
