"""EliminateLayout: transposes, slices, concatenations and copies become index maths.

Kernels are of four classes (`relay_passes.analysis`); what happens to a layout op depends on the
pair that it forms with its neighbour:

==================  ==============================================================================
pair                rule
==================  ==============================================================================
constant -> LAYOUT  FoldConstant has permuted the constant already, at build time
LAYOUT -> LAYOUT    one move: the indices are composed
LAYOUT -> VIEW      one move; a view alone costs nothing and stays
LAYOUT -> FREE      the kernel reads by index, if no reduction has to divide for it (`InlineCopies`)
FREE -> LAYOUT      the kernel writes by index, if nothing else reads its result
LAYOUT -> FIXED     stays, unless the kernel before it is FREE; so does what the function returns
==================  ==============================================================================

A move disappears when every reader takes it over. Preconditions: put after FuseTIR and before any
schedule; only dataflow blocks are rewritten. `DecomposeLayoutOps`, put before, turns splits and
lookups at constant places into layout ops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relay_passes.analysis import Kind
from relay_passes.call_graph import CallGraph, Other, Step
from relay_passes.call_tir import is_foreign, tidy
from relay_passes.fuse_calls import CallFuser
from relay_passes.inline_copies import count_copies, inline_all_copies
from relay_passes.layout_report import LayoutReport
from tvm_c4n._tvm import GlobalVar, IRModule, relax, tvm


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
                report.function = gvar.name_hint
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
        """Rewrite a block; the same block comes back where nothing moves."""
        if not isinstance(block, relax.DataflowBlock):
            return block
        self.graph = CallGraph(self.bb.get(), block, self.kinds)
        changed = False
        for move in self.graph.of_kind(Kind.LAYOUT):
            if move.kind == Kind.LAYOUT:  # composed with a move before it, it may be none any more
                changed |= self._into_readers(move)
        for move in self.graph.of_kind(Kind.LAYOUT):
            why = self._into_maker(move)
            changed |= why is None
            if why is not None:
                self.report.stays(move, self.bb.get()[move.gvar], why)
        return self.graph.block(self.bb) if changed else block

    def _into_readers(self, move: Step) -> bool:
        """Let every reader read by index; all or nothing."""
        paths = self._paths(move)
        if paths is None:
            return False
        fused = []
        for reader, views in paths:
            copies = count_copies(self.bb.get()[reader.gvar])
            new = self.fuser.fuse([move, *views, reader], copies)
            if new is None:
                return False
            fused.append((reader, new))
        self.report.gone(move, [reader for reader, _ in paths])
        for reader, new in fused:
            reader.gvar, reader.inputs, reader.kind = new.gvar, new.inputs, new.kind
        self.graph.drop_unread([move, *(view for _, views in paths for view in views)])
        return True

    def _joins(self, move: Step) -> str:
        """Say why a move of several tensors (or of none) stays."""
        others = [r for r in self.graph.readers(move.var) if isinstance(r, Other)]
        what = "is a result of the function and " if move.escapes or others else ""
        return f"{what}joins several tensors"

    def _paths(self, move: Step) -> list[tuple[Step, list[Step]]] | None:
        """Return who reads a move, itself or through views; None where one of them cannot."""
        found: list[tuple[Step, list[Step]]] = []
        views: list[Step] = []
        for source in (queue := [move]):
            if source.escapes:
                return None
            for reader in self.graph.readers(source.var):
                if isinstance(reader, Other) or reader.kind == Kind.FIXED:
                    return None
                if reader.kind == Kind.VIEW:
                    if reader not in views:
                        views.append(reader)
                        queue.append(reader)
                elif all(reader is not other for other, _ in found):
                    found.append((reader, []))
        order = [v for v in self.graph.items if any(v is view for view in views)]
        for reader, between in found:
            between += [v for v in order if isinstance(v, Step) and self._leads(v, reader)]
        return found

    def _leads(self, view: Step, reader: Step) -> bool:
        """Return whether a reader reads a view, itself or through other views."""
        for value in reader.inputs:
            step = self.graph.steps.get(value) if isinstance(value, relax.Var) else None
            if step is view or (
                step is not None and step.kind == Kind.VIEW and self._leads(view, step)
            ):
                return True
        return False

    def _into_maker(self, move: Step) -> str | None:
        """Let the kernel before a move write by index; says why where it cannot."""
        chain = [move]
        while True:
            variables = [v for v in chain[0].inputs if isinstance(v, relax.Var)]
            if len(variables) != 1:
                return self._joins(move)
            maker = self.graph.steps.get(variables[0])
            if maker is None:
                return "copies an argument of the function, or another compiler's result"
            if maker.escapes or len(self.graph.readers(maker.var)) != 1:
                return "its source is read elsewhere too"
            chain.insert(0, maker)
            if maker.kind not in (Kind.VIEW, Kind.LAYOUT):
                break
        if maker.kind == Kind.FIXED or isinstance(maker.out, relax.TupleType):
            return f"{maker.gvar.name_hint} writes its result in one order only"
        new = self.fuser.fuse(chain, count_copies(self.bb.get()[maker.gvar]))
        new = new or self.fuser.rewrite_maker(chain)
        if new is None:
            return f"{maker.gvar.name_hint} cannot write by index"
        self.report.gone(move, [maker])
        move.gvar, move.inputs, move.kind = new.gvar, new.inputs, new.kind
        self.graph.drop_unread(chain[:-1])
        return None
