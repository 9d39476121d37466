"""HoistAllocTensor: planned memory gets one tensor per function instead of one per call.

TVM's memory planner lets intermediate results share storage, but makes a tensor in it anew for each
of them, and a tuple for each call that updates its arguments in place. The virtual machine does
that work between the kernels, on data that the weights have pushed out of the caches since the last
layer: in a decode step it takes as long as a kernel (docs/decisions/hoisted-tensors.md).

Preconditions: put after `StaticPlanBlockMemory`, which decides what may share memory. Functions
with branches are left as they are: a tensor of one branch is unknown in the other.
"""

from __future__ import annotations

from typing import Any

from relay_passes.call_tir import op_name
from tvm_c4n._tvm import IRModule, PyExprMutator, StructuralKey, mutator, relax, tvm

ALLOC = "relax.memory.alloc_tensor"


@tvm.transform.module_pass(opt_level=0, name="HoistAllocTensor")
class HoistAllocTensor:
    """Make each tensor of planned memory once, and no tuple that is only taken apart."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function that has planned memory and no branches."""
        out = mod.clone()
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                found = _Uses(func)
                if found.planned and not found.branches:
                    out.update_func(gvar, _Hoister(found).visit_expr(func))
        return out


class _Uses:
    """What a function has: planned tensors, branches, and how its tuples are used."""

    def __init__(self, func: relax.Function):
        self.planned = self.branches = False
        self._uses: dict[Any, int] = {}
        relax.analysis.post_order_visit(func.body, self._visit)
        for whole in [
            func.body.body,
            *(b.value for block in func.body.blocks for b in block.bindings),
        ]:
            self._count(whole, 1)

    def _visit(self, expr: Any) -> None:
        self.planned |= op_name(expr) == ALLOC
        self.branches |= isinstance(expr, relax.If)
        if isinstance(expr, relax.TupleGetItem):
            self._count(expr.tuple_value, -1)
        elif isinstance(expr, relax.Call):
            for arg in expr.args:
                self._count(arg, 1)
        elif isinstance(expr, relax.Tuple):
            for field in expr.fields:
                self._count(field, 1)

    def _count(self, expr: Any, uses: int) -> None:
        if isinstance(expr, relax.Var):
            self._uses[expr] = max(self._uses.get(expr, 0), uses)

    def only_taken_apart(self, var: relax.Var) -> bool:
        """Return whether a tuple is used for its items only."""
        return self._uses.get(var, 1) <= 0


@mutator
class _Hoister(PyExprMutator):  # type: ignore[misc]
    def __init__(self, found: _Uses):
        super().__init__()
        self.found = found
        self.tensors: dict[Any, relax.Var] = {}
        self.tuples: dict[Any, relax.Tuple] = {}
        self.replaced: dict[Any, relax.Expr] = {}

    def visit_var_(self, var: relax.Var) -> relax.Expr:
        return self.replaced.get(var, var)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var, value = binding.var, self.visit_expr(binding.value)
        if isinstance(value, relax.Tuple) and self.found.only_taken_apart(var):
            self.tuples[var] = value
        elif isinstance(value, relax.TupleGetItem) and value.tuple_value in self.tuples:
            self.replaced[var] = self.tuples[value.tuple_value].fields[value.index]
        elif isinstance(value, relax.Var):
            self.replaced[var] = value
        elif op_name(value) == ALLOC:
            key = StructuralKey(value)
            if key in self.tensors:
                self.replaced[var] = self.tensors[key]
            else:
                self.tensors[key] = var
                self.builder_.emit_normalized(relax.VarBinding(var, value))
        else:
            self.builder_.emit_normalized(relax.VarBinding(var, value))
