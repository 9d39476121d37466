"""RewriteDenseToC4n: dense layers whose weights obey a C4n pattern become C4n linear operators.

`relay_passes.dense_patterns` has the patterns that are found. By default the rewrite is lossless: a
weight in which every aligned group of 4 input columns has at least n zeros for every output row
loses n of them, and the kept ones stay as they are, float32 or float16. Another `convert` may
prune and quantise (`tvm_c4n.build(..., recipe=...)` passes one).

Preconditions: weights are constants (`relax.transform.BindParams`); put after FoldConstant, before
LegalizeOps and FuseTransposeMatmul. Functions that belong to another compiler (``Codegen``,
``Composite``) or are fused already (``Primitive``) are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay_passes.call_tir import is_foreign, op_name, tidy
from relay_passes.dense_patterns import Dense, bias_of, match_dense
from tvm_c4n._tvm import IRModule, PyExprMutator, mutator, relax, tirx, tvm
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.sparsity import C4nWeight, DType, from_dense
from tvm_c4n.sparsity.pattern import detect_removed

# Packs a weight (rows, cols) of float32 or float16, or answers None: it stays dense.
Convert: TypeAlias = Callable[[NDArray[Any]], C4nWeight | None]


def lossless(weight: NDArray[Any]) -> C4nWeight | None:
    """Pack a weight that obeys a C4n pattern, without changing a value; None for others."""
    removed = detect_removed(weight)
    if removed == 0 or not np.isfinite(weight).all():
        return None
    dtype: DType = "float16" if weight.dtype == np.float16 else "float32"
    return from_dense(weight, removed, dtype)


@tvm.transform.module_pass(opt_level=0, name="RewriteDenseToC4n")
class RewriteDenseToC4n:
    """Replace dense layers by C4n linear operators where the weights allow it.

    Parameters
    ----------
    convert : callable
        Packs a weight, or answers None for one that stays dense.
    """

    def __init__(self, convert: Convert = lossless):
        self.convert = convert

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        rewriter = _Rewriter(mod, self.convert)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function) and not is_foreign(func):
                rewriter.start(func)
                rewriter.builder_.update_func(gvar, rewriter.visit_expr(func))
        return tidy(rewriter.builder_.get()) if rewriter.rewritten else mod


@mutator
class _Rewriter(PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: IRModule, convert: Convert):
        super().__init__(mod)
        self.convert = convert
        self.pool = ConstantPool()
        self.rewritten = 0
        # Layers and functions share weights: pack each once. The constants live as long as `mod`.
        self.packed: dict[Any, C4nWeight | None] = {}
        self.values: dict[Any, Any] = {}
        self.uses: Counter[Any] = Counter()

    def start(self, func: relax.Function) -> None:
        """Learn what the variables of a function are bound to and how often each is used."""
        self.values, self.uses = {}, Counter()
        for block in _blocks(func.body):
            for binding in block.bindings:
                self.values[binding.var] = binding.value
                relax.analysis.post_order_visit(binding.value, self._count)
        relax.analysis.post_order_visit(func.body.body, self._count)

    def _count(self, expr: Any) -> None:
        if isinstance(expr, relax.Var):
            self.uses[expr] += 1

    def lookup(self, expr: Any) -> Any:
        """Return what a variable of the function stands for before the rewrite."""
        while isinstance(expr, relax.Var) and expr in self.values:
            expr = self.values[expr]
        return expr

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        if op_name(call) == "relax.add":
            for result, constant in (call.args, reversed(call.args)):
                out = self._with_bias(result, self.lookup(constant), call)
                if out is not None:
                    return out
        dense = match_dense(call, self.lookup)
        weight = None if dense is None else self._weight(dense)
        if dense is None or weight is None:
            return self.visit_expr_post_order(call)
        return self._linear(dense, weight, str(call.ty.dtype))

    def _with_bias(self, result: Any, constant: Any, call: relax.Call) -> relax.Expr | None:
        """Emit a layer whose bias is added by `call`; None where the call is something else."""
        dense = match_dense(self.lookup(result), self.lookup)
        if dense is None or self.uses[result] != 1 or result.ty.dtype != call.ty.dtype:
            return None
        weight = self._weight(dense)
        if weight is None:
            return None
        bias = bias_of(constant, dense, weight.rows, len(result.ty.shape))
        if bias is None:
            return None
        return self._linear(dense, weight, str(call.ty.dtype), bias)

    def _weight(self, dense: Dense) -> C4nWeight | None:
        if dense.key not in self.packed:
            self.packed[dense.key] = self.convert(dense.matrix())
        return self.packed[dense.key]

    def _linear(
        self, dense: Dense, weight: C4nWeight, dtype: str, bias: NDArray[np.float32] | None = None
    ) -> relax.Expr:
        """Emit the operator on rows of x: channels last, all other axes made one."""
        self.rewritten += 1
        bb, x = self.builder_, self.visit_expr(dense.x)
        rank = len(x.ty.shape)

        # Step 1: channels last, float32.
        last = [axis for axis in range(rank) if axis != dense.axis] + [dense.axis]
        transposed = last != list(range(rank))
        if transposed:
            x = bb.emit(relax.op.permute_dims(x, last))
        if x.ty.dtype != "float32":
            x = bb.emit(relax.op.astype(x, "float32"))

        # Step 2: all other axes are tokens; one token is a decode step's kernel.
        leading = list(x.ty.shape)[:-1]
        tokens = prod(leading[1:], start=leading[0]) if leading else 1
        if len(leading) != 1:
            x = bb.emit(relax.op.reshape(x, (tokens, weight.cols)))
        is_one = isinstance(tokens, int | tirx.IntImm) and int(tokens) == 1
        em = Emitter(bb, 1 if is_one else tokens, self.pool)
        out = c4n_linear.emit(em, x, weight, bias=bias)

        # Step 3: back to the axes, the type and the order of x.
        if len(leading) != 1:
            out = bb.emit(relax.op.reshape(out, (*leading, weight.rows)))
        if dtype != "float32":
            out = bb.emit(relax.op.astype(out, dtype))
        if transposed:
            back = [last.index(axis) for axis in range(rank)]
            out = bb.emit(relax.op.permute_dims(out, back))
        return out


def _blocks(expr: Any) -> list[Any]:
    """Return the binding blocks of a function's body, those inside branches too."""
    found: list[Any] = []

    def visit(inner: Any) -> None:
        if isinstance(inner, relax.SeqExpr):
            found.extend(inner.blocks)

    relax.analysis.post_order_visit(expr, visit)
    return found
