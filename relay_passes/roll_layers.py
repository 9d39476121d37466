"""RollLayers: the regions of all layers become one kernel that loops over them.

After `FuseRegions` a decode step calls one kernel a layer. For each call the virtual machine looks
at some fifteen tensors, the kernel checks them, and the thread pool forks and joins, all on data
that the last layer's weights have pushed out of the caches: as long as a small kernel. Rolled, a
step enters once. The weights of all layers lie in one block in the order in which a step reads
them; a small table says where each layer's begin and which code is for it (layers with other
patterns have other code); what one layer hands to the next alternates between two buffers.

Other functions that use these weights get views of the block: no weight is there twice.

Preconditions: put after `FuseRegions`. Rolled are calls of regions in one dataflow block that
follow each other and differ in constant tensors, in a scalar that counts up, and in what each takes
from the one before. Nothing else may read what passes between them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay_passes.call_tir import CALL_TIR, is_foreign, is_tensor, tidy
from relay_passes.rolled_kernel import COUNT, SAME, WEIGHT, Role, Rolled
from tvm_c4n._tvm import (
    GenericConst,
    GlobalVar,
    IRModule,
    PyExprMutator,
    mutator,
    relax,
    structural_equal,
    tirx,
    tvm,
)
from tvm_c4n.ops.attrs import REGION
from tvm_c4n.ops.tir import CACHE_LINE


@tvm.transform.module_pass(opt_level=0, name="RollLayers")
class RollLayers:
    """Make one kernel of regions that follow each other, in every Relax function."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every Relax function of the module."""
        bb, places = relax.BlockBuilder(mod), Places()
        for gvar, func in _functions(mod):
            reads = _reads(func)
            blocks = [_roll_block(bb, mod, block, reads, places) for block in func.body.blocks]
            body = relax.SeqExpr(blocks, func.body.body)
            bb.update_func(gvar, relax.Function(func.params, body, func.ret_ty, attrs=func.attrs))
        out = bb.get()
        if not places:
            return mod
        for gvar, func in _functions(out):
            out.update_func(gvar, _Views(places).visit_expr(func))
        return tidy(out)


Places = dict[int, tuple[Any, int]]
"""By address of a constant's data: the block that it is in now, and where."""


@dataclass
class _Turn:
    """One call of a region and the items of its result."""

    var: relax.Var
    call: relax.Call
    items: dict[int, relax.Var] = field(default_factory=dict)
    bindings: list[Any] = field(default_factory=list)

    @property
    def gvar(self) -> GlobalVar:
        return self.call.args[0]

    @property
    def inputs(self) -> list[Any]:
        return list(self.call.args[1].fields)

    @property
    def updated(self) -> tuple[int, ...]:
        if self.call.op.name == CALL_TIR[0]:
            return (-1,) * len(self.call.ty_args[0].fields)
        return tuple(int(i) for i in self.call.attrs.inplace_indices)


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
    places: Places,
) -> relax.BindingBlock:
    if not isinstance(block, relax.DataflowBlock):
        return block
    bindings: list[Any] = []
    for part in _chains(mod, list(block.bindings), reads):
        if isinstance(part, _Chain) and len(part.turns) > 1:
            bindings += _bindings(bb, mod, part, places)
        else:
            bindings += part.bindings if isinstance(part, _Chain) else [part]
    return relax.DataflowBlock(bindings)


@dataclass
class _Chain:
    """Turns that one loop can run."""

    turns: list[_Turn]
    roles: tuple[Role, ...] = ()

    @property
    def bindings(self) -> list[Any]:
        return [binding for turn in self.turns for binding in turn.bindings]

    def takes(self, turn: _Turn, reads: Counter[Any]) -> bool:
        """Append a turn, if it continues the chain."""
        roles = _roles(self.turns[-1], turn, reads)
        if roles is None or self.roles not in ((), roles):
            return False
        self.roles = roles
        self.turns.append(turn)
        return True


def _chains(mod: IRModule, bindings: list[Any], reads: Counter[Any]) -> list[Any]:
    """Group the calls of regions into chains; other bindings stay as they are."""
    parts: list[Any] = []
    turns: list[Any] = []
    for binding in bindings:
        value = binding.value
        last = turns[-1] if turns and isinstance(turns[-1], _Turn) else None
        if last and isinstance(value, relax.TupleGetItem) and value.tuple_value.same_as(last.var):
            last.items[value.index] = binding.var
            last.bindings.append(binding)
        elif _is_region(mod, value):
            turns.append(_Turn(binding.var, value, {}, [binding]))
        else:
            turns.append(binding)
    for turn in turns:
        chain = parts[-1] if parts and isinstance(parts[-1], _Chain) else None
        if not isinstance(turn, _Turn):
            parts.append(turn)
        elif chain is None or not chain.takes(turn, reads):
            parts.append(_Chain([turn]))
    return parts


def _is_region(mod: IRModule, value: Any) -> bool:
    if not isinstance(value, relax.Call) or getattr(value.op, "name", None) not in CALL_TIR:
        return False
    attrs = mod[value.args[0]].attrs
    single = not isinstance(value.ty_args[0], relax.TupleType)
    return attrs is not None and REGION in attrs and not single


def _roles(before: _Turn, turn: _Turn, reads: Counter[Any]) -> tuple[Role, ...] | None:
    """Return the roles of a turn's arguments, None where it cannot follow `before` in a loop."""
    types = [t.call.ty_args[0] for t in (before, turn)]
    if before.updated != turn.updated or not structural_equal(*types):
        return None
    if len(before.inputs) != len(turn.inputs):
        return None
    roles: list[Role] = []
    for place, (old, new) in enumerate(zip(before.inputs, turn.inputs, strict=True)):
        role = _role(before, place, old, new)
        if role is None:
            return None
        roles.append(role)
    # What passes between the two must be invisible elsewhere, and so must their tuple.
    handed_on = {before.items[role] for role in roles if isinstance(role, int)}
    if reads[before.var] > len(before.items):
        return None
    if any(reads[item] > (item in handed_on) for item in before.items.values()):
        return None
    return tuple(roles)


def _role(before: _Turn, place: int, old: Any, new: Any) -> Role | None:
    if is_tensor(old) and is_tensor(new):
        return SAME if _address(old) == _address(new) else WEIGHT
    if isinstance(old, tirx.IntImm) and isinstance(new, tirx.IntImm):
        return COUNT if int(new) == int(old) + 1 else None
    if not isinstance(new, relax.Var):
        return None
    if new.same_as(old):
        return SAME
    result = next((r for r, item in before.items.items() if item.same_as(new)), None)
    if result is None or before.updated[result] not in (-1, place):
        return None
    row = [int(n) for n in new.ty.shape]
    if before.updated[result] < 0 and (row[-1] == 1 or np.prod(row) != row[-1]):
        return None  # only rows are handed on
    return result if structural_equal(old.ty, new.ty) else None


def _address(constant: GenericConst) -> int:
    return int(constant.value.data_ptr())


def _bindings(bb: relax.BlockBuilder, mod: IRModule, chain: _Chain, places: Places) -> list[Any]:
    """Return the call of the loop and the bindings of its results."""
    turns, last = chain.turns, chain.turns[-1]
    gvars = list(dict.fromkeys(turn.gvar for turn in turns))
    block, starts, offsets = _pack(turns, gvars, chain.roles, places)
    rolled = Rolled(
        regions=tuple(mod[gvar] for gvar in gvars),
        layers=len(turns),
        roles=chain.roles,
        first={p: int(turns[0].inputs[p]) for p, r in enumerate(chain.roles) if r == COUNT},
        updated=last.updated,
        offsets=offsets,
        size_bytes=block.value.shape[0],
    )
    rows = [(gvars.index(turn.gvar), start) for turn, start in zip(turns, starts, strict=True)]
    inputs = [relax.const(np.array(rows, np.uint32)), block]
    inputs += [turns[0].inputs[p] for p in rolled.kept]
    shift = {p: index + 2 for index, p in enumerate(rolled.kept)}
    types = list(last.call.ty_args[0].fields)
    between = [types[r] for r in rolled.handed_on]
    moved = [shift.get(place, -1) for place in last.updated] + [-1] * len(between)
    types += [relax.TensorType((2, int(kind.shape[-1])), kind.dtype) for kind in between]
    gvar = bb.add_func(rolled.prim_func(), "layers")
    if any(place >= 0 for place in moved):
        value = relax.op.call_tir_inplace(gvar, inputs, moved, types)
    else:
        value = relax.call_tir(gvar, inputs, types)
    value = bb.normalize(value)
    both = relax.DataflowVar("rolled", value.ty)
    items = [
        relax.VarBinding(var, bb.normalize(relax.TupleGetItem(both, r)))
        for r, var in last.items.items()
    ]
    return [relax.VarBinding(both, value), *items]


def _pack(
    turns: list[_Turn], gvars: list[GlobalVar], roles: tuple[Role, ...], places: Places
) -> tuple[Any, list[int], tuple[dict[int, int], ...]]:
    """Copy the weights of all turns into one block.

    Returns
    -------
    block : GenericConst
    starts : list of int
        Of each turn's weights, in lines.
    offsets : tuple of dict
        See `Rolled`.
    """
    weights = [p for p, role in enumerate(roles) if role == WEIGHT]
    offsets: list[dict[int, int]] = [{} for _ in gvars]
    starts, arrays, size = [], [], 0
    for turn in turns:
        starts.append(size // CACHE_LINE)
        start = size
        for p in weights:
            array = turn.inputs[p].value
            arrays.append((size, turn.inputs[p]))
            offsets[gvars.index(turn.gvar)][p] = size - start
            size += -(-_bytes(array) // CACHE_LINE) * CACHE_LINE
    data: NDArray[np.uint8] = np.zeros(size, np.uint8)
    for at, constant in arrays:
        flat = constant.value.numpy().reshape(-1).view(np.uint8)
        data[at : at + flat.size] = flat
    block = relax.const(data)
    for at, constant in arrays:
        places[_address(constant)] = (block, at)
    return block, starts, tuple(offsets)


def _bytes(tensor: Any) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(str(tensor.dtype)).itemsize


@mutator
class _Views(PyExprMutator):  # type: ignore[misc]
    """Replaces constants that are in a block now."""

    def __init__(self, places: Places):
        super().__init__()
        self.places = places
        self.made: dict[int, relax.Var] = {}

    def visit_binding_block_(self, block: relax.BindingBlock) -> relax.BindingBlock:
        self.made = {}  # a dataflow variable is unknown outside of its block
        return super().visit_binding_block_(block)

    def visit_generic_const_(self, constant: GenericConst) -> relax.Expr:
        address = _address(constant) if is_tensor(constant) else None
        if address not in self.places:
            return constant
        if address not in self.made:
            block, at = self.places[address]
            shape = relax.ShapeExpr([int(n) for n in constant.value.shape])
            view = relax.op.memory.view(block, shape, str(constant.value.dtype), at)
            # Kernels take tensors without an offset; on a CPU that is a pointer, not a copy.
            whole = relax.op.memory.ensure_zero_offset(self.builder_.emit(view))
            self.made[address] = self.builder_.emit(whole)
        return self.made[address]
