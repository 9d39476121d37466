"""RewriteDenseToC4n: every form of a dense layer, its bias, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relay_passes import RewriteDenseToC4n
from relay_passes.dump_module import count_calls
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.ops.spec import LinearSpec, spec_of
from tvm_c4n.sparsity import mask_from_scores

RNG = np.random.default_rng(0)
ROWS, COLS = 12, 16


def sparse(dtype: str = "float32") -> np.ndarray:
    weight = RNG.normal(size=(ROWS, COLS))
    return (weight * mask_from_scores(np.abs(weight), 2)).astype(dtype)


def module(shape: tuple[int, ...], body: Callable[[Any], Any], dtype: str = "float32") -> IRModule:
    """A function of one tensor, its operators bound one by one."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, dtype))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(bb.normalize(body(x)))
        bb.emit_func_output(out)
    return relax.transform.Normalize()(bb.get())


def run(mod: IRModule, x: np.ndarray) -> np.ndarray:
    vm = relax.VirtualMachine(relax.build(mod, Target({"kind": "llvm"})), tvm.cpu())
    return vm["main"](tvm.runtime.tensor(x)).numpy()


W = sparse()
OP = relax.op
C = relax.const
FORMS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "vector": ((COLS,), lambda x: OP.matmul(x, C(W.T.copy()))),
    "axes given": ((3, COLS), lambda x: OP.matmul(x, OP.permute_dims(C(W), [1, 0]))),
    "leading ones": ((2, 3, COLS), lambda x: OP.matmul(x, C(W.T.copy()[None]))),
    "left": ((2, COLS, 5), lambda x: OP.matmul(C(W), x)),
    "left, turned": ((COLS, 5), lambda x: OP.matmul(OP.permute_dims(C(W.T.copy())), x)),
    "conv1d": ((2, COLS, 5), lambda x: OP.nn.conv1d(x, C(W[:, :, None]))),
    "conv1d NWC": (
        (2, 5, COLS),
        lambda x: OP.nn.conv1d(
            x, C(W.T.copy()[None]), data_layout="NWC", kernel_layout="WIO", out_layout="NWC"
        ),
    ),
    "conv2d": ((2, COLS, 5, 3), lambda x: OP.nn.conv2d(x, C(W[:, :, None, None]))),
    "conv2d NHWC": (
        (1, 5, 3, COLS),
        lambda x: OP.nn.conv2d(
            x, C(W[:, None, None]), data_layout="NHWC", kernel_layout="OHWI", out_layout="NHWC"
        ),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_found_and_computes_the_same(form: str) -> None:
    shape, body = FORMS[form]
    before = module(shape, body)
    after = RewriteDenseToC4n()(before)
    relax.analysis.well_formed(after)  # raises
    counts = count_calls(after)
    assert not any("matmul" in name or "conv" in name for name in counts)
    (spec,) = [s for _, f in after.functions_items() if isinstance(s := spec_of(f), LinearSpec)]
    assert (spec.rows, spec.cols, spec.removed, spec.bias) == (ROWS, COLS, 2, False)
    x = RNG.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-5)
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(after), after)


BIAS = RNG.normal(size=ROWS).astype(np.float32)


@pytest.mark.parametrize(
    ("form", "shape"), [("axes given", (ROWS,)), ("left", (ROWS, 1)), ("conv1d", (1, ROWS, 1))]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_bias_becomes_part_of_the_operator(form: str, shape: Any, first: bool) -> None:
    input_shape, body = FORMS[form]
    bias = C(BIAS.reshape(shape))
    add = (lambda x: OP.add(bias, body(x))) if first else (lambda x: OP.add(body(x), bias))
    before = module(input_shape, add)
    after = RewriteDenseToC4n()(before)
    assert "relax.add" not in count_calls(after)
    x = RNG.normal(size=input_shape).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-5)


def test_a_result_that_is_used_twice_keeps_its_add() -> None:
    def body(x: Any) -> Any:
        y = OP.matmul(x, C(W.T.copy()))
        return OP.multiply(OP.add(y, C(BIAS)), y)

    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3, COLS), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            y = bb.emit(OP.matmul(x, C(W.T.copy())))
            out = bb.emit_output(OP.multiply(bb.emit(OP.add(y, C(BIAS))), y))
        bb.emit_func_output(out)
    after = RewriteDenseToC4n()(bb.get())
    counts = count_calls(after)
    assert counts["relax.add"] == 1
    assert sum(count for name, count in counts.items() if "linear" in name) == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float16_weights_stay_float16(dtype: str) -> None:
    weight = sparse("float16")
    body = lambda x: OP.matmul(x, C(weight.T.copy()), out_dtype=dtype)  # noqa: E731
    before = module((2, 3, COLS), body, "float16")
    after = RewriteDenseToC4n()(before)
    (spec,) = [s for _, f in after.functions_items() if isinstance(s := spec_of(f), LinearSpec)]
    assert spec.dtype == "float16"
    x = RNG.normal(size=(2, 3, COLS)).astype(np.float16)
    found, exact = run(after, x), x.astype(np.float64) @ weight.T.astype(np.float64)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-3)


def test_layers_that_share_a_weight_share_its_memory() -> None:
    weight = C(np.ascontiguousarray(W[:, :12]))
    body = lambda x: OP.matmul(OP.matmul(x, OP.permute_dims(weight)), OP.permute_dims(weight))  # noqa: E731
    after = RewriteDenseToC4n()(module((1, 12), body))
    addresses = set()

    def visit(expr: Any) -> None:
        if hasattr(expr, "value") and hasattr(expr.value, "data_ptr"):
            addresses.add(expr.value.data_ptr())

    relax.analysis.post_order_visit(after["main"], visit)
    assert len(addresses) == 2  # values and positions, once


LEFT_ALONE: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "stride 2": ((1, COLS, 6), lambda x: OP.nn.conv1d(x, C(W[:, :, None]), strides=2)),
    "padding": ((1, COLS, 6), lambda x: OP.nn.conv1d(x, C(W[:, :, None]), padding=1)),
    "groups": ((1, 2 * COLS, 6), lambda x: OP.nn.conv1d(x, C(W[:, :, None]), groups=2)),
    "wide kernel": ((1, 8, 6), lambda x: OP.nn.conv1d(x, C(W.reshape(ROWS, 8, 2)))),
    "batch of weights": ((2, 3, COLS), lambda x: OP.matmul(x, C(np.stack([W.T, W.T])))),
    "not finite": ((3, COLS), lambda x: OP.matmul(x, C(np.where(W.T == 0, W.T, np.inf)))),
    "integers": ((3, COLS), lambda x: OP.matmul(OP.astype(x, "int32"), C(W.T.astype("int32")))),
}


@pytest.mark.parametrize("form", LEFT_ALONE)
def test_what_is_no_such_layer_is_left_alone(form: str) -> None:
    before = module(*LEFT_ALONE[form])
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(before), before)


@pytest.mark.parametrize("attribute", ["Codegen", "Composite", "Primitive"])
def test_functions_of_other_compilers_are_left_alone(attribute: str) -> None:
    before = module((3, COLS), FORMS["axes given"][1])
    value = 1 if attribute == "Primitive" else "dnnl"
    before.update_func(before.get_global_var("main"), before["main"].with_attr(attribute, value))
    tvm.ir.assert_structural_equal(RewriteDenseToC4n()(before), before)
