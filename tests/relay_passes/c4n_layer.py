"""One C4n layer in a module of its own, for the tests of single passes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import schedules
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.ops.spec import LinearSpec, spec_of
from tvm_c4n.sparsity import C4nWeight, from_dense, mask_from_scores

CHOOSE = partial(schedules.choose, isa=PORTABLE)


def weight_of(dtype: str) -> C4nWeight:
    dense = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    return from_dense(dense, 2, dtype, mask=mask_from_scores(np.abs(dense), 2))


def layer(weight: C4nWeight, functions: tuple[str, ...] = ("main",)) -> IRModule:
    """Functions that share one C4n weight."""
    bb, pool = relax.BlockBuilder(), ConstantPool()
    for name in functions:
        x = relax.Var("x", relax.TensorType((1, 64), "float32"))
        with bb.function(name, [x]):
            with bb.dataflow():
                out = bb.emit_output(c4n_linear.emit(Emitter(bb, 1, pool), x, weight))
            bb.emit_func_output(out)
    return bb.get()


def linear_of(mod: IRModule) -> Any:
    """The PrimFunc of the linear operator."""
    return next(f for _, f in mod.functions_items() if isinstance(spec_of(f), LinearSpec))


def constants_of(mod: IRModule, name: str) -> list[np.ndarray]:
    found: list[np.ndarray] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, tvm.ir.expr.GenericConst):
            found.append(expr.value.numpy())

    relax.analysis.post_order_visit(mod[name], visit)
    return found


def run(mod: IRModule, x: np.ndarray) -> np.ndarray:
    vm = relax.VirtualMachine(relax.build(mod, Target({"kind": "llvm"})), tvm.cpu())
    return vm["main"](tvm.runtime.tensor(x)).numpy()
