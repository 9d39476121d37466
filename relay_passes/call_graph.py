"""A dataflow block as a graph of kernel calls that can be fused and rewired."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relay_passes.analysis import Kind, kind_of
from relay_passes.call_tir import CALL_TIR, op_name
from tvm_c4n._tvm import GlobalVar, IRModule, relax


@dataclass(eq=False)
class CallNode:
    """A `call_tir` with plain arguments.

    Attributes
    ----------
    var : relax.Var
        What the call is bound to.
    gvar : GlobalVar
        The kernel.
    inputs : list
        Relax expressions.
    out : Type
        The result's type: a tensor, or a tuple of tensors.
    kind : Kind
        The class of the kernel.
    """

    var: relax.Var
    gvar: GlobalVar
    inputs: list[Any]
    out: Any
    kind: Kind

    @property
    def escapes(self) -> bool:
        """Whether the result is visible outside of the block."""
        return not isinstance(self.var, relax.DataflowVar)

    def become(self, other: CallNode) -> None:
        """Call another kernel on other inputs; the result stays the same variable."""
        self.gvar, self.inputs, self.kind = other.gvar, other.inputs, other.kind


@dataclass(eq=False)
class OpaqueNode:
    """Any other binding: it stays as it is, and keeps what it reads."""

    binding: Any
    reads: list[Any] = field(default_factory=list)


@dataclass
class Reach:
    """Who reads a result, itself or through views.

    Attributes
    ----------
    consumers : list of (CallNode, list of CallNode)
        Each with the views in between, in order.
    opaque : bool
        Whether something else does: another binding, or what comes after the block.
    """

    consumers: list[tuple[CallNode, list[CallNode]]] = field(default_factory=list)
    opaque: bool = False

    @property
    def views(self) -> list[CallNode]:
        """All views in between."""
        return [view for _, views in self.consumers for view in views]


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
        self.nodes: list[CallNode | OpaqueNode] = []
        self._calls: dict[Any, CallNode] = {}
        for binding in block.bindings:
            call = _call(mod, binding, kinds)
            if call is None:
                reads = list(relax.analysis.free_vars(binding.value))
                self.nodes.append(OpaqueNode(binding, reads))
            else:
                self._calls[call.var] = call
                self.nodes.append(call)

    def producer(self, value: Any) -> CallNode | None:
        """Return the call that makes a value, None for arguments, constants, other bindings."""
        return self._calls.get(value) if isinstance(value, relax.Var) else None

    def consumers(self, node: CallNode) -> list[CallNode | OpaqueNode]:
        """Return the nodes that read a call's result, in order."""
        found: list[CallNode | OpaqueNode] = []
        for other in self.nodes:
            values = other.inputs if isinstance(other, CallNode) else other.reads
            if any(node.var.same_as(value) for value in values):
                found.append(other)
        return found

    def consumers_through_views(self, node: CallNode) -> Reach:
        """Return who reads a call's result, itself or through views."""
        reach, pending = Reach(), [node]
        views: list[CallNode] = []
        while pending:
            source = pending.pop(0)
            reach.opaque |= source.escapes
            for consumer in self.consumers(source):
                if isinstance(consumer, OpaqueNode):
                    reach.opaque = True
                elif consumer.kind == Kind.VIEW:
                    if consumer not in views:
                        views.append(consumer)
                        pending.append(consumer)
                elif consumer not in (other for other, _ in reach.consumers):
                    reach.consumers.append((consumer, []))
        in_order = [node for node in self.nodes if node in views]
        for consumer, between in reach.consumers:
            between += [n for n in in_order if isinstance(n, CallNode) and self._leads(n, consumer)]
        return reach

    def _leads(self, view: CallNode, consumer: CallNode) -> bool:
        """Return whether a call reads a view, itself or through other views."""
        producers = (self.producer(value) for value in consumer.inputs)
        return any(
            p is view or (p is not None and p.kind == Kind.VIEW and self._leads(view, p))
            for p in producers
        )

    def of_kind(self, kind: Kind) -> list[CallNode]:
        """Return the calls of kernels of a class, in order."""
        return [n for n in self.nodes if isinstance(n, CallNode) and n.kind == kind]

    def drop_unread(self, calls: list[CallNode]) -> None:
        """Remove those of some calls, last first, that nothing reads any more."""
        for call in reversed(calls):
            if call.var in self._calls and not call.escapes and not self.consumers(call):
                self.nodes = [node for node in self.nodes if node is not call]
                del self._calls[call.var]

    def block(self, bb: relax.BlockBuilder) -> relax.DataflowBlock:
        """Return the bindings as a block again."""
        bindings = []
        for node in self.nodes:
            if isinstance(node, OpaqueNode):
                bindings.append(node.binding)
                continue
            out = list(node.out.fields) if isinstance(node.out, relax.TupleType) else node.out
            call = bb.normalize(relax.call_tir(node.gvar, node.inputs, out))
            bindings.append(relax.VarBinding(node.var, call))
        return relax.DataflowBlock(bindings)


def _call(mod: IRModule, binding: Any, kinds: dict[GlobalVar, Kind]) -> CallNode | None:
    call = binding.value
    if not isinstance(call, relax.Call) or op_name(call) != CALL_TIR[0]:
        return None
    if len(call.args) > 2 or not isinstance(call.args[1], relax.Tuple):
        return None  # symbolic arguments
    gvar = call.args[0]
    if gvar not in kinds:
        kinds[gvar] = kind_of(mod[gvar])
    if not isinstance(binding, relax.VarBinding):
        return None
    return CallNode(binding.var, gvar, list(call.args[1].fields), call.ty_args[0], kinds[gvar])
