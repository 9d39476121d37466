"""Values that a user gives for parameters of a module's functions become constants."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from tvm_c4n._tvm import GlobalVar, IRModule, name_of, relax, tirx, tvm
from tvm_c4n.errors import C4nError


def bind_params(mod: IRModule, params: Mapping[str, Any]) -> IRModule:
    """Bind parameters by name in every function that is called from outside only.

    A bound parameter is no longer an argument, so functions that others of the module call keep
    theirs: what they are called with gets bound in the callers.

    Parameters
    ----------
    mod : IRModule
    params : mapping
        Tensors of TVM or numpy by name; each must be a parameter's, with its shape and dtype.

    Raises
    ------
    C4nError
        A name that no such function has, or a tensor of another shape or dtype.
    """
    entries = _entries(mod)
    known = {str(p.name): p for func in entries.values() for p in func.params}
    unknown = [name for name in params if name not in known]
    if unknown:
        named = ", ".join(repr(name) + _nearest(name, known) for name in unknown)
        raise C4nError(f"params: no function that can be called has a parameter {named}")
    tensors = {name: _tensor(name, value) for name, value in params.items()}
    for gvar, func in entries.items():
        here = {str(p.name): p for p in func.params if str(p.name) in tensors}
        for name, param in here.items():
            _check(f"params: {name!r} of function {name_of(gvar)!r}", param.ty, tensors[name])
        bound = {name: tensors[name] for name in here}
        mod = relax.transform.BindParams(name_of(gvar), bound)(mod)
    return mod


def _entries(mod: IRModule) -> dict[GlobalVar, relax.Function]:
    """Return the public functions that no function of the module calls."""
    functions = {g: f for g, f in mod.functions_items() if isinstance(f, relax.Function)}
    called: set[str] = set()

    def visit(expr: Any) -> None:
        if isinstance(expr, GlobalVar):
            called.add(name_of(expr))

    for func in functions.values():
        relax.analysis.post_order_visit(func, visit)
    return {
        gvar: func
        for gvar, func in functions.items()
        if name_of(gvar) not in called and func.attrs and "global_symbol" in func.attrs
    }


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, 1, cutoff=0.0)
    return f" (nearest: {near[0]!r})" if near else ""


def _tensor(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tvm.runtime.tensor(value)
    if isinstance(value, tvm.runtime.Tensor):
        return value
    raise C4nError(
        f"params: {name!r} is a {type(value).__name__}: give an array of numpy or a tensor of TVM"
    )


def _check(what: str, kind: Any, tensor: Any) -> None:
    """Raise C4nError if a tensor is not what a parameter takes; its type may leave things open."""
    if not isinstance(kind, relax.TensorType):
        raise C4nError(f"{what} is no tensor but {kind}: it cannot be bound")
    shape = [int(n) for n in tensor.shape]
    lengths = kind.shape.values if isinstance(kind.shape, relax.ShapeExpr) else None
    fits = kind.ndim in (-1, len(shape)) and all(
        int(n) == found
        for n, found in zip(lengths or (), shape, strict=False)
        if isinstance(n, tirx.IntImm)
    )
    if not fits or (kind.dtype and str(kind.dtype) != str(tensor.dtype)):
        raise C4nError(f"{what} is {kind}, the given tensor is {shape} of {tensor.dtype}")
