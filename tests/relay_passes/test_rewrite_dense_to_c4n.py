"""RewriteDenseToC4n: Before and Expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay_passes import RewriteDenseToC4n
from tvm_c4n._tvm import IRModule, Target, relax, tirx, tvm
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.sparsity import from_dense, mask_from_scores


def sparse(rows: int, cols: int, removed: int) -> np.ndarray:
    """A weight with `removed` zeros in each group."""
    weight = np.random.default_rng(removed).normal(size=(rows, cols)).astype(np.float32)
    weight[weight == 0] = 1
    return weight * mask_from_scores(np.abs(weight), removed)


def dense_module(weight: np.ndarray, shape: tuple[Any, ...], *, transposed: bool) -> IRModule:
    """``matmul(x, permute_dims(W))`` or ``matmul(x, W.T as a constant)``."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            if transposed:
                right = bb.emit(relax.op.permute_dims(relax.const(weight)))
            else:
                right = relax.const(np.ascontiguousarray(weight.T))
            out = bb.emit_output(relax.op.matmul(x, right))
        bb.emit_func_output(out)
    return bb.get()


def c4n_module(weight: np.ndarray, shape: tuple[Any, ...], tokens: Any, removed: int) -> IRModule:
    """The module that is expected."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            flat = x
            if len(shape) > 2:
                flat = bb.emit(relax.op.reshape(x, (tokens, shape[-1])))
            em = Emitter(bb, tokens, ConstantPool())
            y = c4n_linear.emit(em, flat, from_dense(weight, removed, "float32"))
            if len(shape) > 2:
                y = bb.emit(relax.op.reshape(y, (*shape[:-1], weight.shape[0])))
            out = bb.emit_output(y)
        bb.emit_func_output(out)
    return relax.transform.CanonicalizeBindings()(bb.get())


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("removed", [1, 2, 3])
def test_matmul_becomes_the_operator(removed: int, transposed: bool) -> None:
    weight = sparse(12, 16, removed)
    before = dense_module(weight, (1, 16), transposed=transposed)
    after = RewriteDenseToC4n()(before)
    tvm.ir.assert_structural_equal(after, c4n_module(weight, (1, 16), 1, removed))
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(after), after)


def test_leading_dimensions_become_tokens() -> None:
    weight = sparse(12, 16, 2)
    after = RewriteDenseToC4n()(dense_module(weight, (2, 3, 16), transposed=True))
    tvm.ir.assert_structural_equal(
        after, c4n_module(weight, (2, 3, 16), tirx.IntImm("int64", 6), 2)
    )


@pytest.mark.parametrize(
    ("weight", "why"),
    [
        (np.ones((12, 16), np.float32), "no zeros"),
        (np.zeros((12, 6), np.float32), "columns are no multiple of four"),
    ],
)
def test_other_weights_are_left_alone(weight: np.ndarray, why: str) -> None:
    before = dense_module(weight, (1, weight.shape[1]), transposed=True)
    after = RewriteDenseToC4n()(before)
    assert not any(v.name_hint.startswith("linear") for v in after.get_global_vars()), why
    tvm.ir.assert_structural_equal(after, before)


def test_a_weight_that_is_an_argument_is_left_alone() -> None:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 16), "float32"))
    w = relax.Var("w", relax.TensorType((16, 8), "float32"))
    with bb.function("main", [x, w]):
        with bb.dataflow():
            out = bb.emit_output(relax.op.matmul(x, w))
        bb.emit_func_output(out)
    before = bb.get()
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(before), before)


@pytest.mark.parametrize("shape", [(1, 16), (5, 16), (2, 3, 16)])
def test_the_numbers_stay(shape: tuple[int, ...]) -> None:
    weight = sparse(12, 16, 2)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    module = RewriteDenseToC4n()(dense_module(weight, shape, transposed=True))
    vm = relax.VirtualMachine(relax.build(module, Target({"kind": "llvm"})), tvm.cpu())
    found = vm["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, x @ weight.T, rtol=1e-5, atol=1e-5)
