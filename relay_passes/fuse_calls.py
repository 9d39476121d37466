"""Makes one kernel of a kernel and the moves round it; `EliminateLayout` decides which ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay_passes.analysis import Kind, kind_of
from relay_passes.call_graph import Step
from relay_passes.fuse_into_producer import fuse_into_producer
from relay_passes.inline_copies import count_copies, inline_copies
from tvm_c4n._tvm import GlobalVar, IRModule, PrimFunc, relax


class CallFuser:
    """Fuses groups of calls; equal groups share their kernel.

    Parameters
    ----------
    bb : relax.BlockBuilder
        Holds the module; fused kernels are added to it.
    """

    def __init__(self, bb: relax.BlockBuilder):
        self.bb = bb
        self.made: dict[Any, GlobalVar | None] = {}

    def fuse(self, steps: Sequence[Step], limit: int) -> Step | None:
        """Fuse calls of which only the last one's result is used afterwards.

        Parameters
        ----------
        steps : sequence of Step
            In order; the last one makes the result.
        limit : int
            Copies that the kernel may hold.

        Returns
        -------
        Step or None
            The call of the kernel; None where more copies would stay.
        """
        made_here = [step.var for step in steps]
        inputs: list[Any] = []
        for step in steps:
            for value in step.inputs:
                if not _among(value, made_here) and not _among(value, inputs):
                    inputs.append(value)
        key = (limit, *(self._signature(step, made_here, inputs) for step in steps))
        if key not in self.made:
            func, name = self._build(steps, inputs), steps[-1].gvar.name_hint
            fits = count_copies(func) <= limit
            self.made[key] = self.bb.add_func(func, name) if fits else None
        gvar = self.made[key]
        if gvar is None:
            return None
        last = steps[-1]
        return Step(last.var, gvar, inputs, last.out, kind_of(self.bb.get()[gvar]))

    def rewrite_maker(self, chain: Sequence[Step]) -> Step | None:
        """Let the first call of a chain write what the moves after it would have made.

        Parameters
        ----------
        chain : sequence of Step
            A call of a FREE kernel, then views and moves, each the only reader of the one before.
        """
        maker, *moves = chain
        joined = moves[-1] if len(moves) == 1 else self.fuse(moves, 1)
        if joined is None:
            return None
        mod = self.bb.get()
        func = fuse_into_producer(mod[maker.gvar], mod[joined.gvar])
        if func is None:
            return None
        gvar = self.bb.add_func(func, maker.gvar.name_hint)
        return Step(joined.var, gvar, maker.inputs, joined.out, Kind.FREE)

    def _signature(self, step: Step, made: list[Any], inputs: list[Any]) -> Any:
        places = tuple(
            ("made", _place(v, made)) if _among(v, made) else ("in", _place(v, inputs))
            for v in step.inputs
        )
        types = tuple(str(v.ty) for v in step.inputs)
        return step.gvar.name_hint, places, types, str(step.out)

    def _build(self, steps: Sequence[Step], inputs: list[Any]) -> PrimFunc:
        mod = self.bb.get()
        used = {step.gvar: mod[step.gvar] for step in steps}
        bb = relax.BlockBuilder(IRModule(used))
        params = [relax.Var(f"p{i}", value.ty) for i, value in enumerate(inputs)]
        with bb.function("group", params, attrs={"Primitive": True}, private=True):
            with bb.dataflow():
                known: list[tuple[Any, Any]] = list(zip(inputs, params, strict=True))
                for step in steps:
                    arguments = [
                        next(new for old, new in known if old.same_as(v)) for v in step.inputs
                    ]
                    call = relax.call_tir(step.gvar, arguments, _types(step.out))
                    last = step is steps[-1]
                    known.append((step.var, bb.emit_output(call) if last else bb.emit(call)))
            bb.emit_func_output(known[-1][1])
        outer = [relax.Var(f"x{i}", value.ty) for i, value in enumerate(inputs)]
        with bb.function("main", outer):
            with bb.dataflow():
                group = bb.get().get_global_var("group")
                out = bb.emit_output(relax.Call(group, outer))
            bb.emit_func_output(out)
        fused = relax.transform.FuseTIR()(bb.get())
        func = fused[fused["main"].body.blocks[0].bindings[0].value.args[0]]
        return inline_copies(func) or func


def _types(out: Any) -> list[Any]:
    return list(out.fields) if isinstance(out, relax.TupleType) else [out]


def _among(value: Any, values: Sequence[Any]) -> bool:
    return any(value.same_as(other) for other in values)


def _place(value: Any, values: Sequence[Any]) -> int:
    return next(i for i, other in enumerate(values) if value.same_as(other))
