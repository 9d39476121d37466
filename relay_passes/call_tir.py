"""Reads calls, in particular a `call_tir` of a C4n PrimFunc, and makes a changed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_c4n._tvm import GenericConst, GlobalVar, IRModule, relax, tvm
from tvm_c4n.ops.spec import OpSpec, spec_of

CALL_TIR = ("relax.call_tir", "relax.call_tir_inplace")
# Attributes of functions that another compiler takes, or that are fused already.
FOREIGN = ("Codegen", "Composite", "Primitive")


def is_foreign(func: Any) -> bool:
    """Return whether passes leave a function alone: it is another compiler's, or fused."""
    return func.attrs is not None and any(name in func.attrs for name in FOREIGN)


def op_name(expr: Any) -> str | None:
    """Return the name of the operator of a call, None for any other expression."""
    return getattr(getattr(expr, "op", None), "name", None)


def is_tensor(expr: Any) -> bool:
    """Return whether an expression is a constant tensor: a data type is a constant, too."""
    return isinstance(expr, GenericConst) and isinstance(expr.value, tvm.runtime.Tensor)


def address_of(constant: GenericConst) -> int:
    """Return the address of a constant's data: its identity, for functions share tensors."""
    return int(constant.value.data_ptr())


def callee_spec(mod: IRModule, call: relax.Call) -> OpSpec | None:
    """Return the C4n spec of the PrimFunc that a call runs, None for any other call."""
    if op_name(call) not in CALL_TIR:
        return None
    return spec_of(mod[call.args[0]])


def with_callee(call: relax.Call, gvar: GlobalVar, inputs: Sequence[Any]) -> relax.Call:
    """Return the call with another callee and other inputs; outputs stay as they are."""
    arguments = [gvar, relax.Tuple(list(inputs)), *call.args[2:]]
    return relax.Call(call.op, arguments, call.attrs, call.ty_args)


def tidy(mod: IRModule) -> IRModule:
    """Remove what a rewrite leaves over: renamings, unused bindings and unused functions."""
    t = relax.transform
    return tvm.transform.Sequential([t.CanonicalizeBindings(), t.DeadCodeElimination()])(mod)
