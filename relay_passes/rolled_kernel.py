"""The kernel of `RollLayers`: a loop over layers inside one parallel region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from relay_passes.fuse_regions import BARRIER, LAUNCH, statements
from tvm_c4n._tvm import PrimFunc, T, tirx
from tvm_c4n.ops.attrs import REGION, REGION_SCHEDULES
from tvm_c4n.ops.tir import CACHE_LINE, in_root_block

WEIGHT, COUNT, SAME = "weight", "count", "same"
Role = str | int
"""What an argument is from layer to layer: a weight, a number that counts up, the same, or (an
integer) that result of the layer before."""


@dataclass(frozen=True)
class Rolled:
    """What the loop runs.

    Attributes
    ----------
    regions : tuple of PrimFunc
        The different ones; all take the same arguments, but for the shapes of weights.
    layers : int
    roles : tuple of Role
        Of the arguments of a region, in order.
    first : dict
        By argument that counts: its number in the first layer.
    updated : tuple of int
        Of the regions' results: the argument that it updates in place, -1: a tensor of its own.
    offsets : tuple of dict
        By region and argument: bytes from the start of a layer's weights to this one.
    size_bytes : int
        Of the block of all weights.
    """

    regions: tuple[PrimFunc, ...]
    layers: int
    roles: tuple[Role, ...]
    first: Mapping[int, int]
    updated: tuple[int, ...]
    offsets: tuple[Mapping[int, int], ...]
    size_bytes: int

    @property
    def kept(self) -> list[int]:
        """Arguments of a region that the loop takes too, after the table and the block."""
        return [p for p, role in enumerate(self.roles) if role not in (WEIGHT, COUNT)]

    @property
    def handed_on(self) -> dict[int, int]:
        """By result with a tensor of its own: the next layer's argument that it is."""
        pairs = [(role, p) for p, role in enumerate(self.roles) if isinstance(role, int)]
        return {result: p for result, p in pairs if self.updated[result] < 0}

    def prim_func(self) -> PrimFunc:
        """Return the kernel.

        Its parameters: the table ``uint32 [layers, 2]`` (number of the region; where the layer's
        weights begin in the block, in lines of 64 bytes), the block ``uint8 [size_bytes]``, `kept`,
        the results that regions make anew, and for each that is handed on two more in a row.
        """
        return _Maker(self).prim_func()


class _Maker:
    """The parameters and statements of one kernel."""

    def __init__(self, rolled: Rolled):
        self.rolled = rolled
        sample, inputs = rolled.regions[0].params, len(rolled.roles)
        own = [result for result, place in enumerate(rolled.updated) if place < 0]
        self.own = {result: inputs + i for i, result in enumerate(own)}
        """By result with a tensor of its own: the parameter of a region that it is."""
        self.table = _buffer("table", (rolled.layers, 2), "uint32")
        self.block = _buffer("block", (rolled.size_bytes,), "uint8")
        self.kept = {p: _like(sample[p]) for p in rolled.kept}
        self.results = {result: _like(sample[p]) for result, p in self.own.items()}
        self.between = {r: _pair(self.results[r]) for r in rolled.handed_on}
        self.layer = tirx.Var("layer", "int64")

    def prim_func(self) -> PrimFunc:
        """Return the kernel, see `Rolled.prim_func`."""
        rolled = self.rolled
        pairs = self.between
        first = [
            _copy((pairs[r], [T.int64(0)]), _row(self.kept[p])) for r, p in rolled.handed_on.items()
        ]
        turn: Any = None
        for number in reversed(range(len(rolled.regions))):
            body = tirx.SeqStmt([*self._pointers(number), *_inside(rolled.regions[number])])
            mine = self.table[self.layer, 0] == T.uint32(number)
            turn = body if turn is None else tirx.IfThenElse(mine, body, turn)
        layers = T.int64(rolled.layers)
        loop = tirx.For(self.layer, T.int64(0), layers, tirx.ForKind.SERIAL, turn)
        end = [T.int64(rolled.layers % 2)]
        last = [_copy(_row(self.results[r]), (pair, end)) for r, pair in pairs.items()]
        everything = tirx.SeqStmt([*first, loop, *last])
        launch = tirx.AttrStmt(T.int32(0), LAUNCH, T.int32(1), everything)
        groups = (self.kept, self.results, self.between)
        params = [self.table, self.block, *(b for group in groups for b in group.values())]
        return in_root_block(PrimFunc(params, launch).with_attrs(self._attrs))

    @cached_property
    def _attrs(self) -> dict[str, Any]:
        attrs = [region.attrs for region in self.rolled.regions]
        return {
            "s_tir": True,
            "tirx.noalias": True,
            "op_pattern": 8,
            REGION: " ".join(str(a[REGION]) for a in attrs),
            REGION_SCHEDULES: "; ".join(str(a[REGION_SCHEDULES]) for a in attrs),
        }

    def _pointers(self, number: int) -> list[Any]:
        """Say where the parameters of a region lie in a turn of the loop."""
        params, layer = self.rolled.regions[number].params, self.layer
        start = tirx.Var("start", "int64")
        stmts = [tirx.Bind(start, T.cast(self.table[layer, 1], "int64") * CACHE_LINE)]
        for p, role in enumerate(self.rolled.roles):
            if role == COUNT:
                stmts.append(tirx.Bind(params[p], layer + self.rolled.first[p]))
            elif role == WEIGHT:
                at = start + self.rolled.offsets[number][p]
                stmts.append(tirx.DeclBuffer(params[p], data=T.address_of(self.block[at])))
            elif role in self.between:
                pointer = T.address_of(self.between[role][layer % 2, 0])
                stmts.append(tirx.DeclBuffer(params[p], data=pointer))
            else:
                stmts.append(tirx.DeclBuffer(params[p], data=_start(self.kept[p])))
        for result, p in self.own.items():
            pointer = _start(self.results[result])
            if result in self.between:
                pointer = T.address_of(self.between[result][(layer + 1) % 2, 0])
            stmts.append(tirx.DeclBuffer(params[p], data=pointer))
        return stmts


def _buffer(name: str, shape: Sequence[int], dtype: str) -> Any:
    return tirx.decl_buffer(shape, dtype, name, layout=None)


def _like(buffer: Any) -> Any:
    return _buffer(buffer.name, [int(n) for n in buffer.shape], str(buffer.dtype))


def _pair(buffer: Any) -> Any:
    """Return a buffer for two of these, which are rows."""
    return _buffer(f"{buffer.name}_between", (2, int(buffer.shape[-1])), str(buffer.dtype))


def _start(buffer: Any) -> Any:
    return T.address_of(buffer[tuple(0 for _ in buffer.shape)])


def _copy(into: tuple[Any, list[Any]], source: tuple[Any, list[Any]]) -> Any:
    """Copy a row, given as a buffer and the indices before the last; the threads wait for it."""
    column = tirx.Var("column", "int64")
    (target, outer), (origin, before) = into, source
    store = tirx.BufferStore(target, origin[(*before, column)], [*outer, column])
    loop = tirx.For(
        column, T.int64(0), T.int64(int(target.shape[-1])), tirx.ForKind.PARALLEL, store
    )
    return tirx.AttrStmt(T.int32(0), BARRIER, T.int32(1), loop)


def _row(buffer: Any) -> tuple[Any, list[Any]]:
    return buffer, [T.int64(0) for _ in buffer.shape[1:]]


def _inside(region: PrimFunc) -> list[Any]:
    """Return the statements of a region without the launch around them."""
    *declared, launch = statements(region)
    inside = launch.body
    return [*declared, *(inside.seq if isinstance(inside, tirx.SeqStmt) else [inside])]
