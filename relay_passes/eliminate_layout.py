"""EliminateLayout: transposes, slices, concatenations and copies become index maths.

Kernels are of four classes (`relay_passes.analysis`); what happens to a layout op depends on its
producer and its consumers (`relay_passes.layout_rules.RULES`):

====================  =============  ======================================
producer -> consumer  action         because
====================  =============  ======================================
LAYOUT -> LAYOUT      into consumer  one layout op: indices are composed
LAYOUT -> VIEW        look through   a view's consumers are the layout op's
LAYOUT -> FREE        into consumer  reads by index, if that is not slower
LAYOUT -> FIXED       keep           reads its operands in one order only
VIEW -> LAYOUT        look through   a view's producer is the layout op's
FREE -> LAYOUT        into producer  writes by index, if it can
FIXED -> LAYOUT       keep           writes its result in one order only
====================  =============  ======================================

A layout op disappears when every consumer takes it over, else when its producer does, whose result
nothing else may read then. What the function returns stays, and what joins several tensors has no
one producer. A constant is no producer: FoldConstant has permuted it already, at build time.

Preconditions: put after FuseTIR and before any schedule; only dataflow blocks are rewritten.
`DecomposeLayoutOps`, put before, turns splits and lookups at constant places into layout ops.
docs/decisions/layout-elimination.md has what was measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relay_passes.analysis import Kind
from relay_passes.call_graph import CallGraph, CallNode, OpaqueNode
from relay_passes.call_tir import is_foreign, tidy
from relay_passes.fuse_calls import CallFuser
from relay_passes.inline_copies import count_copies, inline_all_copies
from relay_passes.layout_report import LayoutReport
from relay_passes.layout_rules import RULES, Action, Fused, Kept, Outcome
from tvm_c4n._tvm import GlobalVar, IRModule, name_of, relax, tvm


@tvm.transform.module_pass(opt_level=0, name="EliminateLayout")
class EliminateLayout:
    """Remove kernels that only move elements.

    Parameters
    ----------
    report : Path, optional
        JSON file that says what was there, what went, what stayed and why.
    """

    def __init__(self, report: Path | None = None):
        self.report = report

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite the dataflow blocks of every Relax function."""
        report = LayoutReport(mod)
        bb = relax.BlockBuilder(inline_all_copies(mod))
        eliminator = _Eliminator(bb, report)
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function) and not is_foreign(func):
                report.function = name_of(gvar)
                blocks = [eliminator.block(block) for block in func.body.blocks]
                if all(new.same_as(old) for new, old in zip(blocks, func.body.blocks, strict=True)):
                    continue
                body = relax.SeqExpr(blocks, func.body.body)
                new = relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)
                bb.update_func(gvar, new)
        out = tidy(bb.get()) if report.went else bb.get()
        if self.report is not None:
            report.write(self.report, out)
        return out


class _Eliminator:
    def __init__(self, bb: relax.BlockBuilder, report: LayoutReport):
        self.bb, self.report = bb, report
        self.fuser = CallFuser(bb)
        self.kinds: dict[GlobalVar, Kind] = {}

    def block(self, block: relax.BindingBlock) -> relax.BindingBlock:
        """Rewrite a block; the same block comes back where no layout op goes."""
        if not isinstance(block, relax.DataflowBlock):
            return block
        self.graph = CallGraph(self.bb.get(), block, self.kinds)
        changed = False
        for call in self.graph.of_kind(Kind.LAYOUT):
            if call.kind == Kind.LAYOUT:  # composed with one before it, it may be a view by now
                changed |= isinstance(self._into_consumers(call), Fused)
        for call in self.graph.of_kind(Kind.LAYOUT):
            outcome = self._into_producer(call)
            changed |= isinstance(outcome, Fused)
            if isinstance(outcome, Kept):
                self.report.stays(call, self.bb.get()[call.gvar], outcome.reason)
        return self.graph.block(self.bb) if changed else block

    def _into_consumers(self, call: CallNode) -> Outcome:
        """Let every consumer read by index; all or nothing."""
        # Step 1: every consumer must be one that reads by index.
        reach = self.graph.consumers_through_views(call)
        if reach.opaque:
            return Kept("is a result of the function, or another compiler reads it")
        for consumer, _ in reach.consumers:
            rule = RULES[Kind.LAYOUT, consumer.kind]
            if rule.action != Action.INTO_CONSUMER:
                return Kept(f"{name_of(consumer.gvar)} {rule.why}")

        # Step 2: fuse it into each, without changing the graph yet.
        fused = []
        for consumer, views in reach.consumers:
            copies = count_copies(self.bb.get()[consumer.gvar])
            new = self.fuser.fuse([call, *views, consumer], copies)
            if new is None:
                return Kept(f"{name_of(consumer.gvar)} cannot read by index")
            fused.append((consumer, new))

        # Step 3: rewire.
        outcome = Fused(tuple(consumer.gvar for consumer, _ in fused))
        self.report.gone(call, outcome)
        for consumer, new in fused:
            consumer.become(new)
        self.graph.drop_unread([call, *reach.views])
        return outcome

    def _into_producer(self, call: CallNode) -> Outcome:
        """Let the kernel before a layout op write by index."""
        # Step 1: the chain from the producer to the layout op, each link the only reader of the
        # one before.
        chain = [call]
        while True:
            variables = [v for v in chain[0].inputs if isinstance(v, relax.Var)]
            if len(variables) != 1:
                return Kept(self._joins(call))
            producer = self.graph.producer(variables[0])
            if producer is None:
                return Kept("copies an argument of the function, or another compiler's result")
            if producer.escapes or len(self.graph.consumers(producer)) != 1:
                return Kept("its source is read elsewhere too")
            chain.insert(0, producer)
            rule = RULES[producer.kind, Kind.LAYOUT]
            if rule.action in (Action.INTO_PRODUCER, Action.KEEP):
                break

        # Step 2: fuse the chain; the producer's own result can also be stored in another order.
        name = name_of(producer.gvar)
        if rule.action == Action.KEEP:
            return Kept(f"{name} {rule.why}")
        if isinstance(producer.out, relax.TupleType):
            return Kept(f"{name} {RULES[Kind.FIXED, Kind.LAYOUT].why}")
        copies = count_copies(self.bb.get()[producer.gvar])
        new = self.fuser.fuse(chain, copies) or self.fuser.rewrite_producer(chain)
        if new is None:
            return Kept(f"{name} cannot write by index")

        # Step 3: rewire.
        outcome = Fused((producer.gvar,))
        self.report.gone(call, outcome)
        call.become(new)
        self.graph.drop_unread(chain[:-1])
        return outcome

    def _joins(self, call: CallNode) -> str:
        """Say why a layout op of several tensors (or of none) stays."""
        others = [c for c in self.graph.consumers(call) if isinstance(c, OpaqueNode)]
        what = "is a result of the function and " if call.escapes or others else ""
        return f"{what}joins several tensors"
