"""EliminateCommonTransposes: equal transposes of one tensor become one.

Frontends transpose a tensor again for each of its readers. One transpose can be written by the
kernel before it (`EliminateLayout`); two of them, each with a reader that wants the tensor in one
order only, could not. Other equal operators are left alone: TVM fuses each with its reader.

Preconditions: put before LegalizeOps; only dataflow blocks are rewritten. A tensor that is updated
in place is never shared.
"""

from __future__ import annotations

from typing import Any

from relay_passes.call_tir import CALL_TIR, is_foreign, op_name, tidy
from tvm_c4n._tvm import IRModule, relax, tvm


@tvm.transform.module_pass(opt_level=0, name="EliminateCommonTransposes")
class EliminateCommonTransposes:
    """Let equal transposes share their result."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite the dataflow blocks of every Relax function."""
        out = mod.clone()
        shared = 0
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function) and not is_foreign(func):
                updated = _updated_in_place(func)
                pairs = [_shared(block, updated) for block in func.body.blocks]
                if count := sum(found for _, found in pairs):
                    shared += count
                    body = relax.SeqExpr([block for block, _ in pairs], func.body.body)
                    new = relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)
                    out.update_func(gvar, new)
        return tidy(out) if shared else mod


def _updated_in_place(func: relax.Function) -> list[Any]:
    """Return the variables that a call writes into."""
    found: list[Any] = []

    def visit(expr: Any) -> None:
        if op_name(expr) == CALL_TIR[1]:
            found.extend(expr.args[1][int(i)] for i in expr.attrs.inplace_indices if int(i) >= 0)

    relax.analysis.post_order_visit(func, visit)
    return found


def _shared(block: relax.BindingBlock, updated: list[Any]) -> tuple[relax.BindingBlock, int]:
    """Return a block without second transposes, and how many there were."""
    if not isinstance(block, relax.DataflowBlock):
        return block, 0
    first: dict[Any, Any] = {}
    bindings, count = [], 0
    for binding in block.bindings:
        value = binding.value
        if op_name(value) == "relax.permute_dims" and not any(
            binding.var.same_as(var) for var in updated
        ):
            axes = value.attrs.axes
            key = value.args[0], None if axes is None else tuple(int(axis) for axis in axes)
            if key in first:
                binding = relax.VarBinding(binding.var, first[key])
                count += 1
            else:
                first[key] = binding.var
        bindings.append(binding)
    return relax.DataflowBlock(bindings), count
