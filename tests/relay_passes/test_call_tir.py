"""Reading a `call_tir` of one of our PrimFuncs, and making a changed one."""

from __future__ import annotations

from typing import Any

import pytest
from tvm.script import ir as I
from tvm.script import relax as R

from relay_passes.call_tir import callee_spec, is_foreign, is_tensor, op_name, tidy, with_callee
from tests.relay_passes.c4n_layer import layer, linear_of, weight_of
from tvm_c4n._tvm import GenericConst, GlobalVar, IRModule, name_of, relax, tvm
from tvm_c4n.ops.spec import spec_of


def calls(mod: IRModule) -> list[relax.Call]:
    found: list[relax.Call] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call):
            found.append(expr)

    relax.analysis.post_order_visit(mod["main"], visit)
    return found


def test_a_call_of_our_kernel_has_its_spec_and_any_other_none() -> None:
    mod = layer(weight_of("float16"))
    specs = [spec for call in calls(mod) if (spec := callee_spec(mod, call)) is not None]
    assert spec_of(linear_of(mod)) in specs
    x = relax.Var("x", relax.TensorType((1,), "float32"))
    assert callee_spec(mod, relax.op.nn.relu(x)) is None


def test_another_callee_keeps_the_outputs() -> None:
    mod = layer(weight_of("float16"))
    call = next(c for c in calls(mod) if callee_spec(mod, c) == spec_of(linear_of(mod)))
    x = relax.Var("x", relax.TensorType((1, 64), "float32"))
    new = with_callee(call, GlobalVar("other"), [x])
    assert name_of(new.args[0]) == "other"
    assert list(new.args[1].fields) == [x]
    assert new.op.same_as(call.op)
    tvm.ir.assert_structural_equal(list(new.ty_args), list(call.ty_args))


@pytest.mark.parametrize(("attribute", "foreign"), [("Codegen", True), ("c4n.kind", False)])
def test_functions_of_other_compilers_are_foreign(attribute: str, foreign: bool) -> None:
    func = layer(weight_of("float16"))["main"]
    assert not is_foreign(func)
    assert is_foreign(func.with_attr(attribute, "x")) is foreign


def test_a_data_type_is_a_constant_but_no_tensor() -> None:
    assert is_tensor(relax.const(1.0, "float32"))
    allocation = relax.op.builtin.alloc_tensor(relax.ShapeExpr([4]), "float32", 0)
    assert isinstance(allocation.args[1], GenericConst)
    assert not is_tensor(allocation.args[1])
    assert not is_tensor(relax.Var("x"))


def test_only_calls_have_an_operator() -> None:
    x = relax.Var("x", relax.TensorType((1,), "float32"))
    assert op_name(relax.op.nn.relu(x)) == "relax.nn.relu"
    assert op_name(x) is None


@I.ir_module
class Untidy:
    @R.function
    def main(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        with R.dataflow():
            same = x
            unused = R.exp(x)  # noqa: F841
            out = R.nn.relu(same)
            R.output(out)
        return out

    @R.function(private=True)
    def nobody(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        return x


@I.ir_module
class Tidy:
    @R.function
    def main(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        with R.dataflow():
            out = R.nn.relu(x)
            R.output(out)
        return out


def test_tidying_removes_renamings_and_what_nothing_reads() -> None:
    tvm.ir.assert_structural_equal(tidy(Untidy), Tidy)
