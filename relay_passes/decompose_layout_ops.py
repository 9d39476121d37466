"""DecomposeLayoutOps: layout ops that TVM would compute by lookup become slices and copies.

- ``split`` becomes a slice for each piece: one kernel with several results cannot be taken over by
  the readers of each.
- ``take`` along an axis at places that are constant and evenly spaced, wrapping round at most once
  (`torch.roll` and ``x[:, i]`` are exported so), becomes a copy with an index ``start + step * i``,
  less the axis' length where it is too large; a place read from a tensor would stay a lookup.
- ``reshape`` of a symbolic shape divides by static lengths only (`relay_passes.reshapes`).

TRAP: the wrap is a comparison, not a modulo. TVM 0.27 simplifies ``(i // 4 + 2) % 4 * 4 + (i % 4 +
2) % 4``, which two rolls of a plane give, to ``(i + 8) % 16``, which is wrong.

Preconditions: put before LegalizeOps, after constants are folded as far as they can be. The length
of the axis that is split or looked up is static.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from relay_passes.call_tir import is_foreign, op_name, tidy
from relay_passes.reshapes import direct_reshape
from tvm_c4n._tvm import GenericConst, IRModule, PyExprMutator, mutator, relax, te, tirx, tvm

# Operators that LegalizeOps must leave to this pass.
DECOMPOSED = ["relax.split", "relax.take", "relax.reshape"]


@tvm.transform.module_pass(opt_level=0, name="DecomposeLayoutOps")
class DecomposeLayoutOps:
    """Rewrite splits, lookups at constant places, and reshapes of symbolic shapes."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        rewriter = _Rewriter(mod)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function) and not is_foreign(func):
                rewriter.builder_.update_func(gvar, rewriter.visit_expr(func))
        return tidy(rewriter.builder_.get()) if rewriter.rewritten else mod


@mutator
class _Rewriter(PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: IRModule):
        super().__init__(mod)
        self.rewritten = 0

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        how = {
            "relax.split": _slices,
            "relax.take": self._evenly_spaced,
            "relax.reshape": self._reshape,
        }.get(op_name(call) or "")
        new = None if how is None else how(call)
        self.rewritten += new is not None
        return call if new is None else new

    def _reshape(self, call: relax.Call) -> relax.Expr | None:
        old, new = _shape(call.args[0]), _shape(call)
        if not old or all(isinstance(n, tirx.IntImm) for n in (*old, *new)):
            return None
        if direct_reshape(te.placeholder(old), new) is None:
            return None
        return self.builder_.call_te(
            direct_reshape, call.args[0], new, primfunc_name_hint="reshape"
        )

    def _evenly_spaced(self, call: relax.Call) -> relax.Expr | None:
        x, places, axis = call.args[0], self._constant(call.args[1]), call.attrs.axis
        if axis is None or places is None or places.ndim > 1 or places.size == 0:
            return None
        shape = _shape(x)
        axis = int(axis) % len(shape) if shape else 0
        if not shape or not isinstance(shape[axis], tirx.IntImm):
            return None
        length = int(shape[axis])
        found = _progression(places.reshape(-1), length)
        if found is None:
            return None
        start, step = found
        out = [*shape[:axis], *([places.size] if places.ndim else []), *shape[axis + 1 :]]

        def compute(source: Any) -> Any:
            def element(*index: Any) -> Any:
                if places.ndim == 0:
                    return source[(*index[:axis], start, *index[axis:])]
                place = start + step * index[axis]
                if start + step * (places.size - 1) >= length:
                    place = tirx.Select(place >= length, place - length, place)
                return source[(*index[:axis], place, *index[axis + 1 :])]

            return te.compute(out, element, name="T_take_evenly")

        return self.builder_.call_te(compute, x, primfunc_name_hint="take_evenly")

    def _constant(self, expr: Any) -> np.ndarray | None:
        value = self.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
        return value.value.numpy() if isinstance(value, GenericConst) else None


def _shape(x: Any) -> list[Any]:
    known = isinstance(x.ty, relax.TensorType) and isinstance(x.ty.shape, relax.ShapeExpr)
    return list(x.ty.shape) if known else []


def _progression(places: np.ndarray, length: int) -> tuple[int, int] | None:
    """Return start and step of places that wrap round the axis at most once, else None."""
    if places.min() < 0 or places.max() >= length:
        return None
    start = int(places[0])
    step = int(places[1] - places[0]) % length if places.size > 1 else 0
    straight = start + step * np.arange(places.size)
    expected = np.where(straight >= length, straight - length, straight)
    return (start, step) if np.array_equal(places, expected) else None


def _slices(call: relax.Call) -> relax.Expr | None:
    """Return the pieces of a split as a tuple of slices."""
    x, axis = call.args[0], int(call.attrs.axis)
    shape = _shape(x)
    if not shape or not isinstance(shape[axis], tirx.IntImm):
        return None
    axis %= len(shape)
    lengths = [field.shape[axis] for field in call.ty.fields]
    if not all(isinstance(n, tirx.IntImm) for n in lengths):
        return None
    ends = np.cumsum([int(n) for n in lengths]).tolist()
    starts = [0, *ends[:-1]]
    pairs = zip(starts, ends, strict=True)
    return relax.Tuple([relax.op.strided_slice(x, [axis], [a], [b]) for a, b in pairs])
