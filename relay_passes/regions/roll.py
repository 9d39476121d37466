"""Which calls of regions are the layers of one loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from relay_passes.call_tir import CALL_TIR, address_of, is_tensor, op_name
from relay_passes.regions.signature import (
    Carried,
    Fresh,
    InPlace,
    Invariant,
    LayerIndex,
    Param,
    RegionSignature,
    Role,
    Weight,
)
from relay_passes.regions.symbols import dims, is_symbolic
from tvm_c4n._tvm import GlobalVar, IRModule, relax, structural_equal, tirx
from tvm_c4n.ops.attrs import REGION


@dataclass
class LayerCall:
    """One call of a region.

    Attributes
    ----------
    var : relax.Var
        The tuple of its results.
    call : relax.Call
    signature : RegionSignature
        Without roles.
    items : dict
        By name of a result: the variable that holds it.
    bindings : list
        Those of the call and of the items.
    """

    var: relax.Var
    call: relax.Call
    signature: RegionSignature
    items: dict[str, relax.Var] = field(default_factory=dict)
    bindings: list[Any] = field(default_factory=list)

    @property
    def gvar(self) -> GlobalVar:
        """The region."""
        return self.call.args[0]

    @property
    def inputs(self) -> dict[str, Any]:
        """By name of a parameter: its value."""
        names = [param.name for param in self.signature.params]
        return dict(zip(names, self.call.args[1].fields, strict=True))

    def takes_item(self, binding: Any) -> bool:
        """Add a binding of an item of the results; False for any other binding."""
        value = binding.value
        if not isinstance(value, relax.TupleGetItem) or not value.tuple_value.same_as(self.var):
            return False
        self.items[self.signature.results[value.index].name] = binding.var
        self.bindings.append(binding)
        return True


@dataclass
class LayerRun:
    """Calls that one loop can run; `roles` are those of the parameters, once there are two."""

    calls: list[LayerCall]
    roles: tuple[Role, ...] = ()

    @property
    def bindings(self) -> list[Any]:
        """The bindings that the loop replaces."""
        return [binding for call in self.calls for binding in call.bindings]

    @property
    def signature(self) -> RegionSignature:
        """The signature of a layer, with workspaces for every one."""
        first, *others = (call.signature for call in self.calls)
        return first.with_roles(self.roles).with_workspaces_of(others)

    def takes(self, call: LayerCall, reads: Counter[Any]) -> bool:
        """Append a call, if it can be the next layer.

        Parameters
        ----------
        call : LayerCall
        reads : Counter
            By variable: the bindings that read it.
        """
        roles = _roles(self.calls, call, reads)
        if roles is None or self.roles not in ((), roles):
            return False
        self.roles = roles
        self.calls.append(call)
        return True


def split_into_layer_runs(mod: IRModule, bindings: list[Any], reads: Counter[Any]) -> list[Any]:
    """Group the calls of regions into runs of layers; other bindings stay, in their place."""
    calls: list[Any] = []
    for binding in bindings:
        if calls and isinstance(calls[-1], LayerCall) and calls[-1].takes_item(binding):
            continue
        calls.append(_layer_call(mod, binding) or binding)
    parts: list[Any] = []
    for call in calls:
        run = parts[-1] if parts and isinstance(parts[-1], LayerRun) else None
        if not isinstance(call, LayerCall):
            parts.append(call)
        elif run is None or not run.takes(call, reads):
            parts.append(LayerRun([call]))
    return parts


def _layer_call(mod: IRModule, binding: Any) -> LayerCall | None:
    call = binding.value
    if not isinstance(call, relax.Call) or op_name(call) not in CALL_TIR:
        return None
    func = mod[call.args[0]]
    if REGION not in (func.attrs or {}) or not isinstance(call.ty_args[0], relax.TupleType):
        return None
    return LayerCall(binding.var, call, RegionSignature.of_call(func, call), {}, [binding])


def _roles(
    layers: list[LayerCall], call: LayerCall, reads: Counter[Any]
) -> tuple[Role, ...] | None:
    """Return the roles of a call's parameters, None where it cannot be the next layer."""
    before = layers[-1]
    if not _same_form(before.signature, call.signature):
        return None
    roles = [_role(layers, param, call.inputs[param.name]) for param in call.signature.params]
    found = tuple(role for role in roles if role is not None)
    if len(found) < len(roles):
        return None
    # What is carried must be invisible elsewhere, and so must the tuple that it is in. A buffer
    # between two layers has one reader, too: each reader begins with an argument of its own.
    carried = [role.result for role in found if isinstance(role, Carried)]
    if len(set(carried)) < len(carried) or reads[before.var] > len(before.items):
        return None
    if any(reads[var] > (name in carried) for name, var in before.items.items()):
        return None
    return found


def _same_form(one: RegionSignature, other: RegionSignature) -> bool:
    """Return whether two regions have the same parameters and results.

    The types of weights may differ, and workspaces.
    """
    ours, theirs = ([r for r in s.results if not r.is_workspace] for s in (one, other))
    return (
        [param.name for param in one.params] == [param.name for param in other.params]
        and [(r.name, r.storage) for r in ours] == [(r.name, r.storage) for r in theirs]
        and all(structural_equal(a.type, b.type) for a, b in zip(ours, theirs, strict=True))
    )


def _role(layers: list[LayerCall], param: Param, new: Any) -> Role | None:
    """Return what a parameter is from the last of the layers to the next; None: they differ."""
    before = layers[-1]
    old = before.inputs[param.name]
    if is_tensor(old) and is_tensor(new):
        return Invariant() if address_of(old) == address_of(new) else Weight()
    if isinstance(old, tirx.IntImm) and isinstance(new, tirx.IntImm):
        counts_up = int(new) == int(old) + 1
        return LayerIndex(int(old) - len(layers) + 1) if counts_up else None
    if not isinstance(new, relax.Var) or not isinstance(new.ty, relax.TensorType):
        return None
    if new.same_as(old):
        return Invariant()
    result = next((r for r in before.signature.results if _holds(before, r.name, new)), None)
    if result is None or not structural_equal(old.ty, new.ty):
        return None
    *outer, columns = dims(new.ty)
    # A row, or in a batch one for each token.
    are_rows = (
        not is_symbolic(columns) and columns > 1 and all(is_symbolic(n) or n == 1 for n in outer)
    )
    # In memory of its own a result is carried by copying it, which the loop does for rows only.
    carries = are_rows if result.storage == Fresh() else result.storage == InPlace(param.name)
    return Carried(result.name) if carries else None


def _holds(call: LayerCall, result: str, var: relax.Var) -> bool:
    return result in call.items and call.items[result].same_as(var)
