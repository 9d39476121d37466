"""FuseRegions: runs of one-token C4n kernels become one kernel with one parallel region.

A decode step of a layer is ten kernels of a few microseconds. Called one by one, each costs a call
and tensors of the virtual machine, the large ones a fork and a join of the thread pool, and the
small ones run on one core. Fused, the threads enter once, share the loops of every kernel, and wait
for each other after it. What passes between the kernels lies in a workspace.

Preconditions: put after `BindSchedules`. Fused are calls in one dataflow block that follow each
other, whose PrimFunc has a schedule, no symbolic shape, and parallel loops only: anything else
would be run by every thread. A run also ends after a linear operator with a residual: layers stay
functions of their own, so that all layers share one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

from relay_passes.bind_schedules import Choose
from relay_passes.call_tir import callee_spec, tidy
from relay_passes.loop_fusion import FusedLoop, fuse_loops
from tvm_c4n._tvm import (
    GlobalVar,
    IRBuilder,
    IRModule,
    PrimFunc,
    T,
    relax,
    tirx,
    tvm,
)
from tvm_c4n.ops.attrs import REGION, REGION_SCHEDULES, SCHEDULE
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import (
    ALIGN_ELEMENTS,
    Kernel,
    declare_or_bind,
    declare_or_bind_scalar,
    in_root_block,
)

"""Attributes of a region: kinds with spaces between them, rules with "; " between them."""
LAUNCH, BARRIER = "pragma_parallel_launch_point", "pragma_parallel_barrier_when_finish"


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


@dataclass
class _Stage:
    """One call of a run."""

    var: relax.Var
    """What the call is bound to; a tuple where it has several outputs."""
    kernel: Kernel
    schedule: str
    """What the rule says of itself."""
    inputs: list[Any]
    outputs: list[Any]
    """None where no variable holds an output."""
    inplace: dict[int, int]
    """By output: the input that it is."""


@dataclass
class _Run:
    """Consecutive bindings that one kernel replaces."""

    bindings: list[Any] = field(default_factory=list)
    stages: list[_Stage] = field(default_factory=list)
    closed: bool = False


def _fuse_block(
    bb: relax.BlockBuilder, choose: Choose, mod: IRModule, block: relax.BindingBlock, result: Any
) -> relax.BindingBlock:
    if not isinstance(block, relax.DataflowBlock):
        return block
    bindings: list[Any] = []
    parts = _split(choose, mod, list(block.bindings))
    for index, part in enumerate(parts):
        if not isinstance(part, _Run) or len(part.stages) < 2:
            bindings += part.bindings if isinstance(part, _Run) else [part]
            continue
        later = {result}
        for other in parts[index + 1 :]:
            for binding in other.bindings if isinstance(other, _Run) else [other]:
                later |= set(relax.analysis.free_vars(binding.value))
        if any(s.var in later for s in part.stages if len(s.outputs) > 1):
            bindings += part.bindings  # a whole tuple is used later: its items would be missing
        else:
            bindings += _Fusion(bb, part, later).bindings()
    return relax.DataflowBlock(bindings)


def _split(choose: Choose, mod: IRModule, bindings: list[Any]) -> list[Any]:
    """Group bindings into runs; bindings that cannot be fused stay as they are."""
    parts: list[Any] = []
    for binding in bindings:
        run = parts[-1] if parts and isinstance(parts[-1], _Run) else None
        value = binding.value
        if run is not None and isinstance(value, relax.TupleGetItem):
            stage = next((s for s in run.stages if s.var.same_as(value.tuple_value)), None)
            if stage is not None:
                stage.outputs[value.index] = binding.var
                run.bindings.append(binding)
                continue
        stage_or_none = _stage(choose, mod, binding)
        if stage_or_none is None:
            parts.append(binding)
            continue
        if run is None or run.closed:
            run = _Run()
            parts.append(run)
        run.bindings.append(binding)
        run.stages.append(stage_or_none)
        spec = callee_spec(mod, value)
        run.closed = isinstance(spec, LinearSpec) and spec.residual
    return parts


def _stage(choose: Choose, mod: IRModule, binding: Any) -> _Stage | None:
    """Read a binding as a stage; None where it cannot be fused."""
    call = binding.value
    if not isinstance(call, relax.Call):
        return None
    spec = callee_spec(mod, call)
    if spec is None or spec.dynamic or SCHEDULE not in mod[call.args[0]].attrs:
        return None
    if not only_parallel(mod[call.args[0]]):
        return None
    inplace: dict[int, int] = {}
    if call.op.name == "relax.call_tir_inplace":
        places = [int(i) for i in call.attrs.inplace_indices]
        inplace = {out: place for out, place in enumerate(places) if place >= 0}
    out_type = call.ty_args[0]
    single = not isinstance(out_type, relax.TupleType)
    outputs = [binding.var] if single else [None] * len(out_type.fields)
    answer = choose(spec)
    if answer is None:
        return None
    name, kernel = answer
    return _Stage(binding.var, kernel, name, list(call.args[1]), outputs, inplace)


def _body(func: PrimFunc) -> Any:
    return func.body.block.body


def statements(func: PrimFunc) -> list[Any]:
    """Return the statements in the root block of a kernel."""
    body = _body(func)
    return list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]


def _is_parallel(stmt: Any) -> bool:
    # A loop of one turn would be simplified away, and its body run by every thread.
    return (
        isinstance(stmt, tirx.For)
        and stmt.kind == tirx.ForKind.PARALLEL
        and isinstance(stmt.extent, tirx.IntImm)
        and int(stmt.extent) > 1
    )


def only_parallel(func: PrimFunc) -> bool:
    """Return whether all that a kernel does is inside parallel loops, so that it can be fused."""
    return all(_is_parallel(stmt) for stmt in statements(func))


class _Fusion:
    """Makes the kernel of one run and the bindings that call it."""

    def __init__(self, bb: relax.BlockBuilder, run: _Run, later: set[Any]):
        self.bb, self.run = bb, run
        self.alias = self._aliases()
        made = [v for s in run.stages for v in s.outputs if v is not None]
        self.results = [v for v in made if v in later]
        self.inputs = self._external()
        self.sizes: dict[str, int] = {}

    def _aliases(self) -> dict[Any, Any]:
        """Return the state variable that each variable updated in place stands for."""
        alias: dict[Any, Any] = {}
        for stage in self.run.stages:
            for out, place in stage.inplace.items():
                source = stage.inputs[place]
                if stage.outputs[out] is not None:
                    alias[stage.outputs[out]] = alias.get(source, source)
        return alias

    def _external(self) -> list[Any]:
        """Return the inputs that no stage makes, each once, in order."""
        made = {v for s in self.run.stages for v in s.outputs if v is not None}
        found: list[Any] = []
        for stage in self.run.stages:
            for value in stage.inputs:
                if value not in made and not any(value.same_as(f) for f in found):
                    found.append(value)
        return found

    def bindings(self) -> list[Any]:
        """Return the call and the bindings of its outputs."""
        gvar, types, places = self._kernel()
        if any(place >= 0 for place in places):
            value = relax.op.call_tir_inplace(gvar, self.inputs, places, types)
        else:
            value = relax.call_tir(gvar, self.inputs, types)
        value = self.bb.normalize(value)
        if len(types) == 1:
            return [relax.VarBinding(self.results[0], value)]
        both = relax.DataflowVar("fused", value.ty)
        items = [self.bb.normalize(relax.TupleGetItem(both, i)) for i in range(len(self.results))]
        pairs = zip(self.results, items, strict=True)
        return [relax.VarBinding(both, value), *(relax.VarBinding(*pair) for pair in pairs)]

    def _kernel(self) -> tuple[GlobalVar, list[Any], list[int]]:
        """Build the PrimFunc; returns it, its output types and the inputs that they are."""
        buffers: dict[Any, Any] = {}
        fresh = [v for v in self.results if v not in self.alias]
        with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
            T.func_name("c4n_region")
            T.func_attr({"tirx.noalias": True, "op_pattern": 8, **_about(self.run.stages)})
            for index, value in enumerate(self.inputs):
                buffers[self._key(value)] = _declare(f"in{index}", value.ty)
            for index, var in enumerate(fresh):
                buffers[self._key(var)] = _declare(f"out{index}", var.ty)
            temporaries = self._temporaries(buffers)
            work = {
                dtype: declare_or_bind(f"work_{dtype}", (size,), dtype)
                for dtype, size in self.sizes.items()
            }
            for var, offset in temporaries:
                shape, dtype = _shape(var), str(var.ty.dtype)
                pointer = T.bind(T.address_of(work[dtype][offset]))
                buffers[self._key(var)] = T.decl_buffer(shape, dtype, data=pointer, layout=None)
            with T.attr(T.int32(0), LAUNCH, 1):
                for loop in fuse_loops(self.run.stages):
                    self._emit(loop, buffers)
        func = in_root_block(builder.get())
        states = [v for v in self.results if v in self.alias]
        self.results = states + fresh
        places = [self._place(self.alias[v]) for v in states]
        works = [relax.TensorType((size,), dtype) for dtype, size in self.sizes.items()]
        types = [v.ty for v in self.results] + works
        places += [-1] * (len(fresh) + len(works))
        return self.bb.add_func(func, "region"), types, places

    def _key(self, value: Any) -> Any:
        """Return a dictionary key: variables themselves, a state's first one, or a place."""
        if isinstance(value, relax.Var):
            return self.alias.get(value, value)
        # Constants have no identity in Python: each access makes a new wrapper.
        return self._place(value)

    def _place(self, value: Any) -> int:
        return next(i for i, found in enumerate(self.inputs) if found.same_as(value))

    def _temporaries(self, buffers: dict[Any, Any]) -> list[tuple[Any, int]]:
        """Place the outputs that stay inside the run in the workspace of their dtype."""
        placed = []
        for stage in self.run.stages:
            for var in stage.outputs:
                if var is None or self._key(var) in buffers:
                    continue
                dtype = str(var.ty.dtype)
                offset = self.sizes.get(dtype, 0)
                placed.append((var, offset))
                size = -(-prod(_shape(var)) // ALIGN_ELEMENTS) * ALIGN_ELEMENTS
                self.sizes[dtype] = offset + size
        return placed

    def _emit(self, loop: FusedLoop[_Stage], buffers: dict[Any, Any]) -> None:
        """Inline the stages of a loop on the region's buffers."""

        def actual(stage: _Stage) -> list[Any]:
            values = [*stage.inputs]
            values += [v for out, v in enumerate(stage.outputs) if out not in stage.inplace]
            return [buffers[self._key(value)] for value in values]

        with T.attr(T.int32(0), BARRIER, 1):
            loop.emit([actual(stage) for stage in loop.stages])


def _about(stages: list[_Stage]) -> dict[str, str]:
    """Say which operators a region runs, and which rules wrote them."""
    return {
        REGION: " ".join(stage.kernel.spec.kind for stage in stages),
        REGION_SCHEDULES: "; ".join(stage.schedule for stage in stages),
    }


def _shape(var: relax.Var) -> list[int]:
    return [int(n) for n in var.ty.shape]


def _declare(name: str, kind: Any) -> Any:
    """Declare a PrimFunc argument of a Relax type."""
    if isinstance(kind, relax.TensorType):
        return declare_or_bind(name, [int(n) for n in kind.shape], str(kind.dtype))
    return declare_or_bind_scalar(name)
