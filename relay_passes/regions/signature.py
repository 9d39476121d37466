"""What a region takes and returns: parameters with a role, results with a storage, all by name.

A region is a PrimFunc that Relax calls through `call_tir`. Its arguments are the parameters, then a
buffer for each result that has its own storage; a result may also be a parameter that is updated in
place. When regions are the layers of one loop, the role of a parameter says what it is from layer
to layer. ``x`` and ``h`` here are carried, ``w`` is each layer's own, ``A`` is invariant::

    layer(x: Carried(y), w: Weight, layer: LayerIndex, A: Invariant, h: Carried(h))
        -> y: Fresh, h: InPlace(h), work_float32: Fresh

A fresh result that nothing reads is a *workspace*, one for each data type that needs one. Layers
with other patterns need more or less of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from relay_passes.call_tir import CALL_TIR
from tvm_c4n._tvm import GlobalVar, PrimFunc, relax


@dataclass(frozen=True)
class Weight:
    """A constant tensor, another one in each layer."""


@dataclass(frozen=True)
class LayerIndex:
    """An integer that is `first` in the first layer and grows by 1 from layer to layer."""

    first: int


@dataclass(frozen=True)
class Invariant:
    """The same value in all layers; so are all parameters of a region that is no layer."""


@dataclass(frozen=True)
class Carried:
    """What the layer before returned as `result`; in the first layer, an argument."""

    result: str


_WORK = "work_"

Role: TypeAlias = Weight | LayerIndex | Invariant | Carried


@dataclass(frozen=True)
class InPlace:
    """The memory of the parameter `param`, which the region updates."""

    param: str


@dataclass(frozen=True)
class Fresh:
    """Memory of its own, which the caller gives as one more argument."""


Storage: TypeAlias = InPlace | Fresh


@dataclass(frozen=True)
class Param:
    """A parameter; `type` is a Relax type."""

    name: str
    type: Any
    role: Role = Invariant()


@dataclass(frozen=True)
class Result:
    """A result; `type` is a Relax type. One that is in place has the name of its parameter."""

    name: str
    type: Any
    storage: Storage = Fresh()

    @classmethod
    def workspace(cls, dtype: str, shape: Sequence[Any]) -> Result:
        """Return the workspace of a data type, whose first dimension is a number of elements."""
        return cls(f"{_WORK}{dtype}", relax.TensorType(shape, dtype))

    @property
    def is_workspace(self) -> bool:
        """Whether it is one."""
        return self.storage == Fresh() and self.name.startswith(_WORK)


@dataclass(frozen=True)
class RegionSignature:
    """Parameters and results of a region, in the order of a call.

    Attributes
    ----------
    params : tuple of Param
    results : tuple of Result

    Raises
    ------
    ValueError
        Two parameters or fresh results have the same name, or a role or a storage names what is
        not there.
    """

    params: tuple[Param, ...]
    results: tuple[Result, ...]

    def __post_init__(self) -> None:
        params = {param.name for param in self.params}
        results = {result.name for result in self.results}
        if len({*params, *(r.name for r in self.fresh)}) < len(self.params) + len(self.fresh):
            raise ValueError(f"names of a region are not unique: {self}")
        named = {r.storage.param for r in self.results if isinstance(r.storage, InPlace)}
        carried = {p.role.result for p in self.params if isinstance(p.role, Carried)}
        if not named <= params or not carried <= results:
            raise ValueError(f"a region names what it does not have: {self}")

    @classmethod
    def of_call(cls, func: PrimFunc, call: relax.Call) -> RegionSignature:
        """Read the signature of a region from one of its calls.

        Parameters
        ----------
        func : PrimFunc
            The region; its arguments name the parameters and the fresh results.
        call : relax.Call
            A `call_tir` or `call_tir_inplace` with a tuple of results.
        """
        types, values = call.ty_args[0].fields, call.args[1].fields
        names = [str(argument.name) for argument in func.params]
        params = tuple(Param(n, v.ty) for n, v in zip(names, values, strict=False))
        inplace = [-1] * len(types)
        if call.op.name == CALL_TIR[1]:
            inplace = [int(i) for i in call.attrs.inplace_indices]
        fresh = iter(names[len(values) :])
        results = tuple(
            Result(next(fresh), kind) if at < 0 else Result(names[at], kind, InPlace(names[at]))
            for at, kind in zip(inplace, types, strict=True)
        )
        return cls(params, results)

    @property
    def fresh(self) -> tuple[Result, ...]:
        """The results with memory of their own, in the order of the region's last arguments."""
        return tuple(result for result in self.results if result.storage == Fresh())

    @property
    def arguments(self) -> list[Param | Result]:
        """What the PrimFunc takes, in order."""
        return [*self.params, *self.fresh]

    @property
    def carry_buffers(self) -> tuple[tuple[Param, Result], ...]:
        """Parameters with the fresh result of the layer before: both need memory in between."""
        fresh = {result.name: result for result in self.fresh}
        return tuple(
            (param, fresh[param.role.result])
            for param in self.params
            if isinstance(param.role, Carried) and param.role.result in fresh
        )

    def with_roles(self, roles: Sequence[Role]) -> RegionSignature:
        """Return the signature with the roles of the parameters, in order."""
        pairs = zip(self.params, roles, strict=True)
        return replace(self, params=tuple(replace(param, role=role) for param, role in pairs))

    def with_workspaces_of(self, others: Iterable[RegionSignature]) -> RegionSignature:
        """Return the signature with workspaces that are large enough for others, too."""
        results = {result.name: result for result in self.results}
        for other in others:
            for result in other.results:
                if result.is_workspace:
                    known = results.get(result.name, result)
                    results[result.name] = max(known, result, key=_elements)
        return replace(self, results=tuple(results.values()))

    def call(self, gvar: GlobalVar, values: Sequence[Any]) -> relax.Call:
        """Return the call of a region on one value for each parameter."""
        types = [result.type for result in self.results]
        at = {param.name: index for index, param in enumerate(self.params)}
        inplace = [
            at[r.storage.param] if isinstance(r.storage, InPlace) else -1 for r in self.results
        ]
        if any(index >= 0 for index in inplace):
            return relax.op.call_tir_inplace(gvar, list(values), inplace, types)
        return relax.call_tir(gvar, list(values), types)


def _elements(workspace: Result) -> int:
    return int(workspace.type.shape[0])
