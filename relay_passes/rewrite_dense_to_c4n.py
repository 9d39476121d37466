"""RewriteDenseToC4n: dense layers whose weights obey a C4n pattern become C4n linear operators.

Rewritten: ``matmul(x, permute_dims(W))`` and ``matmul(x, W)`` with a 2-D float32 constant W, x of
float32 with at least two dimensions, where every aligned group of 4 input columns has at least one
zero for every output row. The rewrite is lossless: only zeros are dropped.

Preconditions: put before LegalizeOps and FuseTransposeMatmul, after BindParams and FoldConstant.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay_passes.calls import tidy
from tvm_c4n._tvm import GenericConst, IRModule, PyExprMutator, mutator, relax, tirx, tvm
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.sparsity.pack import from_dense
from tvm_c4n.sparsity.pattern import GROUP, detect_removed


@tvm.transform.module_pass(opt_level=0, name="RewriteDenseToC4n")
class RewriteDenseToC4n:
    """Replace dense layers by C4n linear operators where the weights allow it."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        rewriter = _Rewriter(mod)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                rewriter.builder_.update_func(gvar, rewriter.visit_expr(func))
        return tidy(rewriter.builder_.get())


def _name(expr: Any) -> str | None:
    return getattr(getattr(expr, "op", None), "name", None)


@mutator
class _Rewriter(PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: IRModule):
        super().__init__(mod)
        self.pool = ConstantPool()

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if _name(call) != "relax.matmul" or call.ty.dtype != "float32":
            return call
        x, weight = call.args[0], self._dense_weight(call.args[1])
        if weight is None or x.ty.dtype != "float32" or len(x.ty.shape) < 2:
            return call
        if weight.shape[1] % GROUP:
            return call
        removed = detect_removed(weight)
        return call if removed == 0 else self._linear(x, weight, removed)

    def _dense_weight(self, expr: relax.Expr) -> NDArray[Any] | None:
        """Return the weight (rows, cols) behind the right side of a matmul, else None."""
        expr = self._bound(expr)
        if _name(expr) == "relax.permute_dims" and expr.attrs.axes is None:
            inner = self._bound(expr.args[0])
            if isinstance(inner, GenericConst) and len(inner.value.shape) == 2:
                return np.asarray(inner.value.numpy())
        elif isinstance(expr, GenericConst) and len(expr.value.shape) == 2:
            return np.ascontiguousarray(expr.value.numpy().T)
        return None

    def _bound(self, expr: relax.Expr) -> relax.Expr:
        """Return what a variable stands for, where it is bound in this function."""
        value = self.lookup_binding(expr) if isinstance(expr, relax.Var) else None
        return expr if value is None else value

    def _linear(self, x: relax.Expr, weight: NDArray[Any], removed: int) -> relax.Expr:
        """Emit the C4n operator on the rows of x, whatever its leading dimensions."""
        bb, (rows, cols) = self.builder_, weight.shape
        leading = list(x.ty.shape)[:-1]
        tokens = prod(leading[1:], start=leading[0])
        flat = x if len(leading) == 1 else bb.emit(relax.op.reshape(x, (tokens, cols)))
        is_one = isinstance(tokens, tirx.IntImm) and int(tokens) == 1
        em = Emitter(bb, 1 if is_one else tokens, self.pool)
        out = c4n_linear.emit(em, flat, from_dense(weight, removed, "float32"))
        if len(leading) == 1:
            return out
        return relax.op.reshape(out, (*leading, rows))
