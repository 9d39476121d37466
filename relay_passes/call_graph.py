"""A dataflow block as a graph of kernel calls that can be fused and rewired."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relay_passes.analysis import Kind, kind_of
from relay_passes.call_tir import CALL_TIR
from tvm_c4n._tvm import GlobalVar, IRModule, relax


@dataclass
class Step:
    """A `call_tir` with plain arguments."""

    var: relax.Var
    gvar: GlobalVar
    inputs: list[Any]
    out: Any
    """Type of the result: a tensor, or a tuple of tensors."""
    kind: Kind

    @property
    def escapes(self) -> bool:
        """Whether the result is visible outside of the block."""
        return not isinstance(self.var, relax.DataflowVar)


@dataclass
class Other:
    """Any other binding: it stays as it is, and keeps what it reads."""

    binding: Any
    reads: list[Any] = field(default_factory=list)


class CallGraph:
    """The bindings of a dataflow block.

    Parameters
    ----------
    mod : IRModule
    block : relax.DataflowBlock
    kinds : dict
        Classes of PrimFuncs that are known already; filled here.
    """

    def __init__(self, mod: IRModule, block: relax.DataflowBlock, kinds: dict[GlobalVar, Kind]):
        self.items: list[Step | Other] = []
        self.steps: dict[Any, Step] = {}
        for binding in block.bindings:
            step = _step(mod, binding, kinds)
            if step is None:
                self.items.append(Other(binding, list(relax.analysis.free_vars(binding.value))))
            else:
                self.steps[step.var] = step
                self.items.append(step)

    def readers(self, var: Any) -> list[Step | Other]:
        """Return the bindings that read a variable, in order."""
        found: list[Step | Other] = []
        for item in self.items:
            values = item.inputs if isinstance(item, Step) else item.reads
            if any(var.same_as(value) for value in values):
                found.append(item)
        return found

    def of_kind(self, kind: Kind) -> list[Step]:
        """Return the calls of kernels of a class, in order."""
        return [i for i in self.items if isinstance(i, Step) and i.kind == kind]

    def drop(self, step: Step) -> None:
        """Remove a call that nothing reads any more."""
        self.items = [item for item in self.items if item is not step]
        del self.steps[step.var]

    def drop_unread(self, steps: list[Step]) -> None:
        """Remove those of `steps`, last first, that nothing reads any more."""
        for step in reversed(steps):
            if not step.escapes and not self.readers(step.var):
                self.drop(step)

    def block(self, bb: relax.BlockBuilder) -> relax.DataflowBlock:
        """Return the bindings as a block again."""
        bindings = []
        for item in self.items:
            if isinstance(item, Other):
                bindings.append(item.binding)
                continue
            out = list(item.out.fields) if isinstance(item.out, relax.TupleType) else item.out
            call = bb.normalize(relax.call_tir(item.gvar, item.inputs, out))
            bindings.append(relax.VarBinding(item.var, call))
        return relax.DataflowBlock(bindings)


def _step(mod: IRModule, binding: Any, kinds: dict[GlobalVar, Kind]) -> Step | None:
    call = binding.value
    if not isinstance(call, relax.Call) or getattr(call.op, "name", None) != CALL_TIR[0]:
        return None
    if len(call.args) > 2 or not isinstance(call.args[1], relax.Tuple):
        return None  # symbolic arguments
    gvar = call.args[0]
    if gvar not in kinds:
        kinds[gvar] = kind_of(mod[gvar])
    if not isinstance(binding, relax.VarBinding):
        return None
    return Step(binding.var, gvar, list(call.args[1].fields), call.ty_args[0], kinds[gvar])
