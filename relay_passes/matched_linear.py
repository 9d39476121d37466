"""Which dense layers that a pattern matched RewriteDenseToC4n would take."""

from __future__ import annotations

from typing import Any

from relay_passes.call_tir import op_name
from relay_passes.dense_patterns import bias_of, match_dense
from relay_passes.rewrite_dense_to_c4n import lossless
from tvm_c4n._tvm import relax


def is_sparse(context: relax.transform.PatternCheckContext) -> bool:
    """Return whether a match is a dense layer with a C4n weight, and what is added its bias.

    Parameters
    ----------
    context : tvm.relax.transform.PatternCheckContext
        What ``FuseOpsByPattern`` matched.
    """

    def lookup(expr: Any) -> Any:
        return context.matched_bindings.get(expr, expr) if isinstance(expr, relax.Var) else expr

    layer, bias = context.matched_expr, None
    if op_name(layer) == "relax.add":
        bias = context.annotated_expr["bias"]
        layer = next(lookup(arg) for arg in layer.args if not arg.same_as(bias))
    dense = match_dense(layer, lookup)
    if dense is None:
        return False
    weight = lossless(dense.matrix())
    if weight is None:
        return False
    return bias is None or bias_of(bias, dense, weight.rows, len(layer.ty.shape)) is not None
