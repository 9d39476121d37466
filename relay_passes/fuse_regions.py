"""FuseRegions: runs of one-token C4n kernels become one kernel with one parallel region.

A decode step of a layer is ten kernels of a few microseconds. Called one by one, each costs a call
and tensors of the virtual machine, the large ones a fork and a join of the thread pool, and the
small ones run on one core. Fused, the threads enter once, share the loops of every kernel, and wait
for each other after it. What passes between the kernels lies in a workspace.

Preconditions: put after `BindSchedules`. `relay_passes.regions.select` says what a run is.
docs/decisions/barriers-and-loops.md has what was measured.
"""

from __future__ import annotations

from typing import Any

from relay_passes.bind_schedules import Choose
from relay_passes.call_tir import tidy
from relay_passes.regions.emit import make_region
from relay_passes.regions.select import Run, split_into_runs
from tvm_c4n._tvm import IRModule, relax, tvm


@tvm.transform.module_pass(opt_level=0, name="FuseRegions")
class FuseRegions:
    """Fuse runs of one-token kernels in every Relax function.

    Parameters
    ----------
    choose : callable
        The one that `BindSchedules` had.
    """

    def __init__(self, choose: Choose):
        self.choose = choose

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        bb = relax.BlockBuilder(mod)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                result = func.body.body
                blocks = [_fuse_block(bb, self.choose, mod, b, result) for b in func.body.blocks]
                body = relax.SeqExpr(blocks, result)
                params, ret = func.params, func.ret_ty
                bb.update_func(gvar, relax.Function(params, body, ret, attrs=func.attrs))
        return tidy(bb.get())


def _fuse_block(
    bb: relax.BlockBuilder, choose: Choose, mod: IRModule, block: relax.BindingBlock, result: Any
) -> relax.BindingBlock:
    if not isinstance(block, relax.DataflowBlock):
        return block
    parts = split_into_runs(choose, mod, list(block.bindings))
    bindings: list[Any] = []
    for index, part in enumerate(parts):
        if not isinstance(part, Run):
            bindings.append(part)
            continue
        later = {result}
        for other in parts[index + 1 :]:
            for binding in other.bindings if isinstance(other, Run) else [other]:
                later |= set(relax.analysis.free_vars(binding.value))
        bindings += _region_bindings(bb, part, later) if part.can_fuse(later) else part.bindings
    return relax.DataflowBlock(bindings)


def _region_bindings(bb: relax.BlockBuilder, run: Run, later: set[Any]) -> list[Any]:
    """Return the call of a run's region and the bindings of its outputs."""
    region = make_region(run, later)
    gvar = bb.add_func(region.func, "region")
    value = bb.normalize(region.signature.call(gvar, region.inputs))
    if len(region.signature.results) == 1:
        return [relax.VarBinding(region.outputs[0], value)]
    fused = relax.DataflowVar("fused", value.ty)
    items = [
        relax.VarBinding(var, bb.normalize(relax.TupleGetItem(fused, index)))
        for index, var in enumerate(region.outputs)
    ]
    return [relax.VarBinding(fused, value), *items]
