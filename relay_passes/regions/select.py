"""Which calls of a dataflow block become one region.

Fused are calls of a decode step that follow each other, whose PrimFunc has a schedule and parallel
loops only: anything else would be run by every thread. A run also ends where a layer ends,
so that all layers share one function. That is after a linear operator with a residual, unless what
follows up to the next one belongs to the same layer: a part that updates no state, behind one that
does (an MLP), or one that reads more than the sum (attention beside a scan, of the same norm).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relay_passes.bind_schedules import Choose
from relay_passes.call_tir import CALL_TIR, callee_spec
from relay_passes.regions.parallel import only_parallel
from tvm_c4n._tvm import IRModule, relax
from tvm_c4n.ops.attrs import SCHEDULE
from tvm_c4n.ops.spec import ExpertLinearSpec, LinearSpec
from tvm_c4n.ops.tir import Kernel


@dataclass
class KernelCall:
    """One call of a run.

    Attributes
    ----------
    var : relax.Var
        What the call is bound to; a tuple where it has several outputs.
    kernel : Kernel
    schedule : str
        What the rule says of itself.
    inputs : list
        Relax expressions.
    outputs : list
        Relax variables; None where no variable holds an output.
    inplace : dict
        By output: the number of the input that it updates.
    """

    var: relax.Var
    kernel: Kernel
    schedule: str
    inputs: list[Any]
    outputs: list[Any]
    inplace: dict[int, int]


@dataclass
class Run:
    """Consecutive bindings that one region can replace."""

    bindings: list[Any] = field(default_factory=list)
    calls: list[KernelCall] = field(default_factory=list)
    closed: bool = False

    @property
    def outputs(self) -> list[Any]:
        """The variables that hold outputs of the calls, in order."""
        return [var for call in self.calls for var in call.outputs if var is not None]

    @property
    def external_inputs(self) -> list[Any]:
        """The inputs that no call of the run makes, each once, in order."""
        made, found = set(self.outputs), list[Any]()
        for call in self.calls:
            for value in call.inputs:
                if value not in made and not any(value.same_as(other) for other in found):
                    found.append(value)
        return found

    def belongs_to(self, before: Run) -> bool:
        """Return whether two runs, one right behind the other, are parts of one layer."""
        if not before.closed or not self.closed:
            return False
        states = {call.outputs[output] for call in before.calls for output in call.inplace}
        inner = set(before.outputs[:-1]) - states
        if any(isinstance(value, relax.Var) and value in inner for value in self.external_inputs):
            return True
        return bool(states) and not any(call.inplace for call in self.calls)

    def can_fuse(self, later: set[Any]) -> bool:
        """Return whether one region can replace the bindings.

        Parameters
        ----------
        later : set of relax.Var
            What is read after them.
        """
        # The tuple of a call would be gone, and an item without a variable would have no memory.
        tuples = [call for call in self.calls if len(call.outputs) > 1]
        unnamed = (
            var is None and output not in call.inplace
            for call in tuples
            for output, var in enumerate(call.outputs)
        )
        return (
            len(self.calls) > 1
            and not any(call.var in later for call in tuples)
            and not any(unnamed)
        )


def split_into_runs(choose: Choose, mod: IRModule, bindings: list[Any]) -> list[Any]:
    """Group bindings into runs, as long as possible; others stay as they are, in their place."""
    parts: list[Any] = []
    for binding in bindings:
        run = parts[-1] if parts and isinstance(parts[-1], Run) else None
        if run is not None and _takes_item(run, binding):
            continue
        call = _kernel_call(choose, mod, binding)
        if call is None:
            parts.append(binding)
            continue
        if run is None or run.closed:
            run = Run()
            parts.append(run)
        run.bindings.append(binding)
        run.calls.append(call)
        spec = call.kernel.spec
        run.closed = isinstance(spec, LinearSpec | ExpertLinearSpec) and spec.residual
    return _join_layers(parts)


def _join_layers(parts: list[Any]) -> list[Any]:
    """Make one run of those that belong to one layer."""
    joined: list[Any] = []
    for part in parts:
        before = joined[-1] if joined else None
        if isinstance(before, Run) and isinstance(part, Run) and part.belongs_to(before):
            before.bindings += part.bindings
            before.calls += part.calls
        else:
            joined.append(part)
    return joined


def _takes_item(run: Run, binding: Any) -> bool:
    """Add a binding of a tuple's item to the run whose call made the tuple."""
    value = binding.value
    if not isinstance(value, relax.TupleGetItem):
        return False
    call = next((c for c in run.calls if c.var.same_as(value.tuple_value)), None)
    if call is None:
        return False
    call.outputs[value.index] = binding.var
    run.bindings.append(binding)
    return True


def _kernel_call(choose: Choose, mod: IRModule, binding: Any) -> KernelCall | None:
    """Read a binding as the call of a kernel; None where it cannot be part of a region."""
    call = binding.value
    if not isinstance(call, relax.Call):
        return None
    spec = callee_spec(mod, call)
    if spec is None or spec.prefill or SCHEDULE not in mod[call.args[0]].attrs:
        return None
    if not only_parallel(mod[call.args[0]]):
        return None
    answer = choose(spec)
    if answer is None:
        return None
    inplace: dict[int, int] = {}
    if call.op.name == CALL_TIR[1]:
        places = [int(i) for i in call.attrs.inplace_indices]
        inplace = {out: place for out, place in enumerate(places) if place >= 0}
    out_type = call.ty_args[0]
    single = not isinstance(out_type, relax.TupleType)
    outputs = [binding.var] if single else [None] * len(out_type.fields)
    name, kernel = answer
    return KernelCall(binding.var, kernel, name, list(call.args[1]), outputs, inplace)
