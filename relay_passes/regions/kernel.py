"""The PrimFunc of rolled layers: a loop over layers inside one parallel launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from relay_passes.regions.parallel import BARRIER, LAUNCH, launched
from relay_passes.regions.signature import (
    Carried,
    Invariant,
    LayerIndex,
    Param,
    RegionSignature,
    Result,
    Weight,
)
from relay_passes.regions.symbols import Symbols, dims, is_symbolic
from tvm_c4n._tvm import (
    Bind,
    Buffer,
    For,
    ForKind,
    If,
    PrimFunc,
    SeqStmt,
    T,
    TensorStore,
    declare,
    marked,
    relax,
    tirx,
)
from tvm_c4n.ops.attrs import REGION, REGION_SCHEDULES
from tvm_c4n.ops.tir import CACHE_LINE, in_root_block

TABLE, ARENA = "table", "arena"


@dataclass(frozen=True)
class LayerLoop:
    """What the loop runs.

    Attributes
    ----------
    regions : tuple of PrimFunc
        The different ones; their signatures are the same, but for the shapes of weights and for
        workspaces, which may be smaller or absent.
    layers : int
    layer : RegionSignature
        The signature of one layer, its parameters with their roles.
    offsets : tuple of dict
        By region, then by name of a weight: bytes from the start of a layer's weights to this one.
    arena_bytes : int
        Size of the weight arena, which holds the weights of all layers.
    """

    regions: tuple[PrimFunc, ...]
    layers: int
    layer: RegionSignature
    offsets: tuple[Mapping[str, int], ...]
    arena_bytes: int

    @cached_property
    def signature(self) -> RegionSignature:
        """The signature of the loop.

        It takes ``table``, uint32 (layers, 2): the number of a layer's region, and where its
        weights begin in the arena, in cache lines; ``arena``, uint8 (arena_bytes,); and a layer's
        parameters that are invariant or carried. It returns a layer's results and, for each that is
        carried in memory of its own, a buffer for two: layers read one and write the other.
        """
        table = Param(TABLE, relax.TensorType((self.layers, 2), "uint32"))
        arena = Param(ARENA, relax.TensorType((self.arena_bytes,), "uint8"))
        kept = [
            Param(p.name, p.type)
            for p in self.layer.params
            if isinstance(p.role, Invariant | Carried)
        ]
        carry = [
            Result(_carry(r), relax.TensorType((2, *_rows(r.type)), r.type.dtype))
            for _, r in self.layer.carry_buffers
        ]
        return RegionSignature((table, arena, *kept), (*self.layer.results, *carry))

    def prim_func(self) -> PrimFunc:
        """Return the kernel."""
        return _Emitter(self).prim_func()


def _carry(result: Result) -> str:
    return f"{result.name}_carry"


class _Emitter:
    """The parameters and statements of one kernel."""

    def __init__(self, loop: LayerLoop):
        self.loop, symbols = loop, Symbols()
        self.buffers = {entry.name: _buffer(entry, symbols) for entry in loop.signature.arguments}
        pairs = loop.layer.carry_buffers
        self.carry = {result.name: self.buffers[_carry(result)] for _, result in pairs}
        self.layer = tirx.Var("layer", "int64")

    def prim_func(self) -> PrimFunc:
        """Return the kernel, see `LayerLoop.prim_func`."""
        layers = self.loop.layers
        pairs = self.loop.layer.carry_buffers

        # Step 1: the first layer reads part 0 of what is carried.
        copy_in = [
            _copy((self.carry[result.name], [T.int64(0)]), _whole(self.buffers[param.name]))
            for param, result in pairs
        ]

        # Step 2: each layer runs the region that the table names.
        body: Any = None
        for number in reversed(range(len(self.loop.regions))):
            region = self.loop.regions[number]
            code = SeqStmt([*self._bindings(number), *launched(region)])
            chosen = self.buffers[TABLE][self.layer, 0] == T.uint32(number)
            body = code if body is None else If(chosen, code, body)
        loop = For(self.layer, T.int64(0), T.int64(layers), ForKind.SERIAL, body)

        # Step 3: the last layer wrote the part that one more layer would read.
        end = [T.int64(layers % 2)]
        copy_out = [
            _copy(_whole(self.buffers[result.name]), (self.carry[result.name], end))
            for _, result in pairs
        ]
        everything = SeqStmt([*copy_in, loop, *copy_out])
        launch = marked(LAUNCH, everything)
        func = PrimFunc(list(self.buffers.values()), launch)
        return in_root_block(func.with_attrs(self._attrs()))

    def _attrs(self) -> dict[str, Any]:
        attrs = [region.attrs for region in self.loop.regions]
        return {
            "s_tir": True,
            "tirx.noalias": True,
            "op_pattern": 8,
            REGION: " ".join(str(a[REGION]) for a in attrs),
            REGION_SCHEDULES: "; ".join(str(a[REGION_SCHEDULES]) for a in attrs),
        }

    def _bindings(self, number: int) -> list[Any]:
        """Say where the arguments of a region lie in one iteration of the loop."""
        region, layer = self.loop.regions[number], self.layer
        arguments = {str(argument.name): argument for argument in region.params}
        start = tirx.Var("start", "int64")
        first_line = T.cast(self.buffers[TABLE][layer, 1], "int64")
        stmts = [Bind(start, first_line * CACHE_LINE), *self._symbols(arguments)]
        for param in self.loop.layer.params:
            argument, role = arguments[param.name], param.role
            if isinstance(role, LayerIndex):
                stmts.append(Bind(argument, layer + role.first))
                continue
            if isinstance(role, Weight):
                at = start + self.loop.offsets[number][param.name]
                pointer = T.address_of(self.buffers[ARENA][at])
            elif isinstance(role, Carried) and role.result in self.carry:
                pointer = self._part(role.result, layer % 2)
            else:
                pointer = _start(self.buffers[param.name])
            stmts.append(declare(argument, pointer))
        for result in self.loop.layer.fresh:
            if result.name not in arguments:
                continue  # a workspace of other regions
            if result.name in self.carry:
                pointer = self._part(result.name, (layer + 1) % 2)
            else:
                pointer = _start(self.buffers[result.name])
            stmts.append(declare(arguments[result.name], pointer))
        return stmts

    def _part(self, result: str, number: Any) -> Any:
        """Return where one of the two parts of what is carried begins."""
        buffer = self.carry[result]
        return T.address_of(buffer[(number, *(0 for _ in buffer.shape[1:]))])

    def _symbols(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Say what a region's symbolic dimensions are in the loop's arguments."""
        found: dict[Any, Any] = {}
        for name, argument in arguments.items():
            if name in self.buffers and isinstance(argument, Buffer):
                for own, dim in zip(argument.shape, self.buffers[name].shape, strict=True):
                    if isinstance(own, tirx.Var):
                        found.setdefault(own, dim)
        return [Bind(own, dim) for own, dim in found.items()]


def _rows(kind: relax.TensorType) -> list[Any]:
    """Return the shape of what is carried: one row, or one for each of a batch's tokens."""
    *outer, columns = dims(kind)
    return [*(n for n in outer if is_symbolic(n)), columns]


def _buffer(entry: Param | Result, symbols: Symbols) -> Any:
    shape = symbols.shape(entry.type)
    return tirx.decl_buffer(shape, str(entry.type.dtype), entry.name, layout=None)


def _start(buffer: Any) -> Any:
    return T.address_of(buffer[tuple(0 for _ in buffer.shape)])


def _copy(into: tuple[Any, list[Any]], source: tuple[Any, list[Any]]) -> Any:
    """Copy rows, given as a buffer and its indices before theirs; the threads wait for it."""
    column = tirx.Var("column", "int64")
    (target, outer), (origin, before) = into, source
    rows = [tirx.Var("row", "int64") for _ in target.shape[len(outer) : -1]]
    store: Any = TensorStore(target, origin[(*before, *rows, column)], [*outer, *rows, column])
    for row, extent in zip(rows, target.shape[len(outer) : -1], strict=True):
        store = For(row, T.int64(0), extent, ForKind.SERIAL, store)
    loop = For(column, T.int64(0), T.int64(int(target.shape[-1])), ForKind.PARALLEL, store)
    return marked(BARRIER, loop)


def _whole(buffer: Any) -> tuple[Any, list[Any]]:
    return buffer, [T.int64(0) for n in buffer.shape[:-1] if not is_symbolic(n)]
