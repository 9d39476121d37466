"""PackWeights: constants of C4n operators go from the checkpoint's form to the target's.

Preconditions: operators were emitted by `tvm_c4n.ops` or `RewriteDenseToC4n`; weights that are not
constants of the function keep the checkpoint's form (their PrimFunc has ``c4n.lanes == 0``). Put
before `BindSchedules`, whose kernels read the packed form.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from relay_passes.call_tir import callee_spec, tidy, with_callee
from tvm_c4n._tvm import GenericConst, IRModule, PrimFunc, PyExprMutator, mutator, relax, tvm
from tvm_c4n.ops import c4n_linear, embedding
from tvm_c4n.ops.attrs import KIND
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import EmbeddingSpec, LinearSpec
from tvm_c4n.ops.weights import weight_shapes
from tvm_c4n.sparsity import C4nWeight, DType


@tvm.transform.module_pass(opt_level=0, name="PackWeights")
class PackWeights:
    """Pack the constant weights of linear and embedding operators.

    Parameters
    ----------
    lanes : int
        Rows of a tile, see `tvm_c4n.ops.isa.Isa`.
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
        # Functions share constants (prefill and step, embedding and head): pack each once.
        self.packed: dict[tuple[Any, ...], GenericConst] = {}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        spec = callee_spec(self.mod, call)
        if not isinstance(spec, LinearSpec | EmbeddingSpec) or spec.lanes:
            return call
        view = spec if isinstance(spec, LinearSpec) else embedding.as_linear(spec)
        # Before the weights: activations and, where they are int8, their scales; or token ids.
        first = 2 if isinstance(spec, LinearSpec) and spec.integer else 1
        count = len(weight_shapes(view))
        inputs = list(call.args[1])
        weights = inputs[first : first + count]
        if not all(isinstance(w, GenericConst) for w in weights):
            return call
        packed_spec = replace(spec, lanes=self.lanes)
        packed = self._pack(weights, view)
        func = _define(packed_spec)
        gvar = self.builder_.add_func(func, str(func.attrs[KIND]))
        return with_callee(call, gvar, [*inputs[:first], packed, *inputs[first + count :]])

    def _pack(self, constants: list[GenericConst], spec: LinearSpec) -> GenericConst:
        layout = (spec.rows, spec.cols, spec.removed, spec.dtype, spec.scale_group)
        # A constant's data keeps its address while the module lives.
        key = (*(c.value.data_ptr() for c in constants), *layout)
        if key not in self.packed:
            weight = _weight(spec, [c.value.numpy() for c in constants])
            self.packed[key] = relax.const(repack(weight, replace(spec, lanes=self.lanes)))
        return self.packed[key]


def _define(spec: LinearSpec | EmbeddingSpec) -> PrimFunc:
    return c4n_linear.define(spec) if isinstance(spec, LinearSpec) else embedding.define(spec)


def _weight(spec: LinearSpec, arrays: list[NDArray[Any]]) -> C4nWeight:
    """Return the weight whose arrays are an operator's raw arguments."""
    return C4nWeight(
        rows=spec.rows,
        cols=spec.cols,
        removed=spec.removed,
        dtype=cast(DType, spec.dtype),
        scale_group=spec.scale_group,
        values=np.asarray(arrays[0]),
        positions=arrays[1] if spec.removed else None,
        scales=arrays[-1] if spec.quantized else None,
    )
