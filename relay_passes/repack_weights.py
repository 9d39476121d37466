"""RepackWeights: constants of C4n operators go from the stored form to the target's repacked one.

Preconditions: operators were emitted by `tvm_c4n.ops` or `RewriteDenseToC4n`; weights that are not
constants of the function keep the stored form (their PrimFunc has ``c4n.lanes == 0``). Put
before `BindSchedules`, whose kernels read the repacked form.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relay_passes.call_tir import address_of, callee_spec, tidy, with_callee
from tvm_c4n._tvm import GenericConst, IRModule, PrimFunc, PyExprMutator, mutator, relax, tvm
from tvm_c4n.ops import c4n_linear, embedding, expert_linear, grouped_linear
from tvm_c4n.ops.attrs import KIND
from tvm_c4n.ops.expert_weights import stored_shapes, stored_weight
from tvm_c4n.ops.repack import Spec, repack, stored_formats
from tvm_c4n.ops.spec import EmbeddingSpec, ExpertLinearSpec, GroupedLinearSpec, LinearSpec


@tvm.transform.module_pass(opt_level=0, name="RepackWeights")
class RepackWeights:
    """Repack the constant weights of linear and embedding operators.

    Parameters
    ----------
    lanes : int
        Rows of a panel, see `tvm_c4n.ops.isa.Isa`.
    """

    def __init__(self, lanes: int):
        self.lanes = lanes

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        packer = _Packer(mod, self.lanes)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                packer.builder_.update_func(gvar, packer.visit_expr(func))
        return tidy(packer.builder_.get())


@mutator
class _Packer(PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: IRModule, lanes: int):
        super().__init__(mod)
        self.mod, self.lanes = mod, lanes
        # Functions share constants (prefill and step, embedding and head): each is repacked once.
        self.packed: dict[tuple[Any, ...], GenericConst] = {}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        spec = callee_spec(self.mod, call)
        if not isinstance(spec, Spec) or spec.lanes:
            return call
        # Before the weights: activations and, where they are int8, their scales; or token ids.
        first = 1 if isinstance(spec, EmbeddingSpec) or not spec.integer else 2
        count = len(stored_shapes(spec))
        inputs = list(call.args[1])
        weights = inputs[first : first + count]
        if not all(isinstance(w, GenericConst) for w in weights):
            return call
        packed_spec = replace(spec, lanes=self.lanes)
        packed = self._pack(weights, spec)
        func = _define(packed_spec)
        gvar = self.builder_.add_func(func, str(func.attrs[KIND]))
        return with_callee(call, gvar, [*inputs[:first], packed, *inputs[first + count :]])

    def _pack(self, constants: list[GenericConst], spec: Spec) -> GenericConst:
        # A constant's data keeps its address while the module lives.
        key = (*map(address_of, constants), *stored_formats(spec))
        if key not in self.packed:
            weight = stored_weight(spec, [c.value.numpy() for c in constants])
            self.packed[key] = relax.const(repack(weight, replace(spec, lanes=self.lanes)))
        return self.packed[key]


def _define(spec: Spec) -> PrimFunc:
    if isinstance(spec, LinearSpec):
        return c4n_linear.define(spec)
    if isinstance(spec, ExpertLinearSpec):
        return expert_linear.define(spec)
    if isinstance(spec, GroupedLinearSpec):
        return grouped_linear.define(spec)
    assert isinstance(spec, EmbeddingSpec)  # noqa: S101 - there are no others
    return embedding.define(spec)
