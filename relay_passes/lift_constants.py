"""LiftConstants: tensors that are constants become trailing parameters of the Relax functions.

A compiled library then holds code only, and the weights can lie in a file that is mapped into
memory. All functions take the same parameters in the same order; the module attribute
``c4n.constants`` lists their values.

TVM has two passes near it: LiftTransformParams moves what is computed from parameters into a
function of its own, and BundleModelParams makes one tuple of them. Both begin with parameters; this
one makes them, for all functions at once. docs/decisions/lifted-constants.md says what for.

Preconditions: put after the passes that fold or pack constants.
"""

from __future__ import annotations

from typing import Any

from relay_passes.call_tir import address_of, is_tensor
from tvm_c4n._tvm import GenericConst, IRModule, PyExprMutator, mutator, relax, tvm
from tvm_c4n.ops.attrs import CONSTANTS


@tvm.transform.module_pass(opt_level=0, name="LiftConstants")
class LiftConstants:
    """Move constants of at least one dimension out of the functions."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function; a module that was lifted already stays as it is."""
        if mod.attrs is not None and CONSTANTS in mod.attrs:
            return mod
        constants = constants_of(mod)
        out = mod.clone()
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                out.update_func(gvar, _lift(func, constants))
        return out.with_attr(CONSTANTS, [c.value for c in constants])


def constants_of(mod: IRModule) -> list[GenericConst]:
    """Return the constant tensors of at least one dimension in the Relax functions, each once."""
    found: dict[int, GenericConst] = {}
    for _, func in mod.functions_items():
        if isinstance(func, relax.Function):
            relax.analysis.post_order_visit(func, lambda e: _collect(e, found))
    return list(found.values())


def _collect(expr: Any, found: dict[int, GenericConst]) -> None:
    if is_tensor(expr) and len(expr.value.shape) > 0:
        found.setdefault(address_of(expr), expr)


def _lift(func: relax.Function, constants: list[GenericConst]) -> relax.Function:
    variables = [relax.Var(f"weight{i}", c.ty) for i, c in enumerate(constants)]
    by_identity = {address_of(c): v for c, v in zip(constants, variables, strict=True)}
    body = _Lifter(by_identity).visit_expr(func.body)
    return relax.Function([*func.params, *variables], body, func.ret_ty, attrs=func.attrs)


@mutator
class _Lifter(PyExprMutator):  # type: ignore[misc]
    def __init__(self, variables: dict[int, relax.Var]):
        super().__init__()
        self.variables = variables

    def visit_generic_const_(self, constant: GenericConst) -> relax.Expr:
        if is_tensor(constant) and len(constant.value.shape) > 0:
            return self.variables[address_of(constant)]
        return constant
