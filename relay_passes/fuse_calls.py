"""One kernel for a kernel and the layout ops next to it; `EliminateLayout` decides which ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay_passes.analysis import Kind, kind_of
from relay_passes.call_graph import CallNode
from relay_passes.fuse_into_producer import fuse_into_producer
from relay_passes.inline_copies import count_copies, inline_copies
from tvm_c4n._tvm import GlobalVar, IRModule, PrimFunc, name_of, relax, tvm


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

    def fuse(self, calls: Sequence[CallNode], limit: int) -> CallNode | None:
        """Fuse calls of which only the last one's result is used afterwards.

        Parameters
        ----------
        calls : sequence of CallNode
            In order; the last one makes the result.
        limit : int
            Copies that the kernel may hold.

        Returns
        -------
        CallNode or None
            The call of the kernel; None where more copies would stay, or where
            TVM cannot fuse them.
        """
        made_here = [call.var for call in calls]
        inputs: list[Any] = []
        for call in calls:
            for value in call.inputs:
                if not _among(value, made_here) and not _among(value, inputs):
                    inputs.append(value)
        key = (limit, *(self._signature(call, made_here, inputs) for call in calls))
        if key not in self.made:
            func, name = self._build(calls, inputs), name_of(calls[-1].gvar)
            fits = func is not None and count_copies(func) <= limit
            self.made[key] = self.bb.add_func(func, name) if fits else None
        gvar = self.made[key]
        if gvar is None:
            return None
        last = calls[-1]
        return CallNode(last.var, gvar, inputs, last.out, kind_of(self.bb.get()[gvar]))

    def rewrite_producer(self, chain: Sequence[CallNode]) -> CallNode | None:
        """Let the first call of a chain write what the layout ops after it would have made.

        Parameters
        ----------
        chain : sequence of CallNode
            A call of a FREE kernel, then views and layout ops; each is the only reader of the one
            before.
        """
        producer, *rest = chain
        layout_op = rest[-1] if len(rest) == 1 else self.fuse(rest, 1)
        if layout_op is None:
            return None
        mod = self.bb.get()
        func = fuse_into_producer(mod[producer.gvar], mod[layout_op.gvar])
        if func is None:
            return None
        gvar = self.bb.add_func(func, name_of(producer.gvar))
        return CallNode(layout_op.var, gvar, producer.inputs, layout_op.out, Kind.FREE)

    def _signature(self, call: CallNode, made: list[Any], inputs: list[Any]) -> Any:
        places = tuple(
            ("made", _place(v, made)) if _among(v, made) else ("in", _place(v, inputs))
            for v in call.inputs
        )
        types = tuple(str(v.ty) for v in call.inputs)
        return name_of(call.gvar), places, types, str(call.out)

    def _build(self, calls: Sequence[CallNode], inputs: list[Any]) -> PrimFunc | None:
        # Step 1: a function of the calls, marked for FuseTIR.
        mod = self.bb.get()
        used = {call.gvar: mod[call.gvar] for call in calls}
        bb = relax.BlockBuilder(IRModule(used))
        params = [relax.Var(f"p{i}", value.ty) for i, value in enumerate(inputs)]
        with bb.function("group", params, attrs={"Primitive": True}, private=True):
            with bb.dataflow():
                known: list[tuple[Any, Any]] = list(zip(inputs, params, strict=True))
                for call in calls:
                    arguments = [
                        next(new for old, new in known if old.same_as(v)) for v in call.inputs
                    ]
                    value = relax.call_tir(call.gvar, arguments, _types(call.out))
                    last = call is calls[-1]
                    known.append((call.var, bb.emit_output(value) if last else bb.emit(value)))
            bb.emit_func_output(known[-1][1])

        # Step 2: FuseTIR takes only what is called.
        outer = [relax.Var(f"x{i}", value.ty) for i, value in enumerate(inputs)]
        with bb.function("main", outer):
            with bb.dataflow():
                group = bb.get().get_global_var("group")
                out = bb.emit_output(relax.Call(group, outer))
            bb.emit_func_output(out)

        # Step 3: one kernel, its copies as index maths.
        try:
            fused = relax.transform.FuseTIR()(bb.get())
        except tvm.error.InternalError:
            return None  # a tensor between them has two types: `relay_passes.protect_kernels`
        func = fused[fused["main"].body.blocks[0].bindings[0].value.args[0]]
        return inline_copies(func) or func


def _types(out: Any) -> list[Any]:
    return list(out.fields) if isinstance(out, relax.TupleType) else [out]


def _among(value: Any, values: Sequence[Any]) -> bool:
    return any(value.same_as(other) for other in values)


def _place(value: Any, values: Sequence[Any]) -> int:
    return next(i for i, other in enumerate(values) if value.same_as(other))
