"""RollLayers: the regions of all layers become one kernel that loops over them.

After `FuseRegions` a decode step calls one kernel per layer. For each call the virtual machine
looks at some fifteen tensors, the kernel checks them, and the thread pool forks and joins, all on
data that the last layer's weights have pushed out of the caches: as long as a small kernel. Rolled,
a step enters once. The weights of all layers lie in one arena in the order in which a step reads
them; a small table says where each layer's begin and which code is for it (layers with other
patterns have other code); what one layer hands to the next alternates between two buffers.

Other functions that use these weights get views of the arena: no weight is there twice.

Preconditions: put after `FuseRegions`. Rolled are calls of regions in one dataflow block that
follow each other and differ in constant tensors, in a scalar that counts up, and in what each takes
from the one before (`relay_passes.regions.signature` has the roles). Nothing else may read what
passes between them. docs/decisions/rolled-layers.md has what was measured.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from relay_passes.call_tir import address_of, is_foreign, is_tensor, tidy
from relay_passes.regions.layer_loop import Arena, layer_loop, pack_arena
from relay_passes.regions.roll import LayerRun, split_into_layer_runs
from tvm_c4n._tvm import GenericConst, GlobalVar, IRModule, PyExprMutator, mutator, relax, tvm

# By address of a constant's data: the arena that holds it now, and where, in bytes.
Places = dict[int, tuple[GenericConst, int]]


@tvm.transform.module_pass(opt_level=0, name="RollLayers")
class RollLayers:
    """Make one kernel of regions that follow each other, in every Relax function."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        bb, arenas = relax.BlockBuilder(mod), list[Arena]()
        for gvar, func in _functions(mod):
            reads = _reads(func)
            blocks = [_roll_block(bb, mod, block, reads, arenas) for block in func.body.blocks]
            body = relax.SeqExpr(blocks, func.body.body)
            bb.update_func(gvar, relax.Function(func.params, body, func.ret_ty, attrs=func.attrs))
        out = bb.get()
        places = {
            address: (arena.constant, at)
            for arena in arenas
            for address, at in arena.places.items()
        }
        if not places:  # layers without weights of their own are none
            return mod
        for gvar, func in _functions(out):
            out.update_func(gvar, _Views(places).visit_expr(func))
        return tidy(out)


def _functions(mod: IRModule) -> list[tuple[GlobalVar, relax.Function]]:
    relaxed = [(g, f) for g, f in mod.functions_items() if isinstance(f, relax.Function)]
    return [(g, f) for g, f in relaxed if not is_foreign(f)]


def _reads(func: relax.Function) -> Counter[Any]:
    """Count by variable the bindings that read it, and the function's result."""
    reads = Counter(relax.analysis.free_vars(func.body.body))
    for block in func.body.blocks:
        for binding in block.bindings:
            reads.update(relax.analysis.free_vars(binding.value))
    return reads


def _roll_block(
    bb: relax.BlockBuilder,
    mod: IRModule,
    block: relax.BindingBlock,
    reads: Counter[Any],
    arenas: list[Arena],
) -> relax.BindingBlock:
    if not isinstance(block, relax.DataflowBlock):
        return block
    bindings: list[Any] = []
    for part in split_into_layer_runs(mod, list(block.bindings), reads):
        if isinstance(part, LayerRun) and len(part.calls) > 1:
            bindings += _loop_bindings(bb, mod, part, arenas)
        else:
            bindings += part.bindings if isinstance(part, LayerRun) else [part]
    return relax.DataflowBlock(bindings)


def _loop_bindings(
    bb: relax.BlockBuilder, mod: IRModule, run: LayerRun, arenas: list[Arena]
) -> list[Any]:
    """Return the call of the loop and the bindings of its results; notes the arena."""
    regions = list(dict.fromkeys(call.gvar for call in run.calls))
    arena = pack_arena(run, regions, arenas)
    arenas.append(arena)
    loop, values = layer_loop(mod, run, regions, arena)
    gvar = bb.add_func(loop.prim_func(), "layers")
    value = bb.normalize(loop.signature.call(gvar, values))
    rolled = relax.DataflowVar("rolled", value.ty)
    names = [result.name for result in loop.signature.results]
    items = [
        relax.VarBinding(var, bb.normalize(relax.TupleGetItem(rolled, names.index(name))))
        for name, var in run.calls[-1].items.items()
    ]
    return [relax.VarBinding(rolled, value), *items]


@mutator
class _Views(PyExprMutator):  # type: ignore[misc]
    """Replaces constants that are in an arena now."""

    def __init__(self, places: Places):
        super().__init__()
        self.places = places
        self.views: dict[int, relax.Var] = {}

    def visit_binding_block_(self, block: relax.BindingBlock) -> relax.BindingBlock:
        self.views = {}  # a dataflow variable is unknown outside of its block
        return super().visit_binding_block_(block)

    def visit_generic_const_(self, constant: GenericConst) -> relax.Expr:
        address = address_of(constant) if is_tensor(constant) else None
        if address not in self.places:
            return constant
        if address not in self.views:
            arena, at = self.places[address]
            shape = relax.ShapeExpr([int(n) for n in constant.value.shape])
            view = relax.op.memory.view(arena, shape, str(constant.value.dtype), at)
            # Kernels take tensors without an offset; on a CPU that is a pointer, not a copy.
            whole = relax.op.memory.ensure_zero_offset(self.builder_.emit(view))
            self.views[address] = self.builder_.emit(whole)
        return self.views[address]
