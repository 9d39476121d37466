"""From Python functions that emit statements to PrimFuncs, alone or inside another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tvm_c4n._tvm import IRBuilder, PrimFunc, SBlock, SBlockRealize, T
from tvm_c4n.ops.spec import OpSpec

R = TypeVar("R")


class _Bound(NamedTuple):
    """The arguments that are left, and the number of tokens."""

    arguments: Iterator[Any]
    tokens: Any


# Those of the kernel that is being inlined.
_BOUND: ContextVar[_Bound | None] = ContextVar("bound_arguments", default=None)


def declare_or_bind(name: str, shape: Sequence[Any], dtype: str = "float32") -> Any:
    """Declare a buffer argument; inside `bind_arguments`, return the next given one instead."""
    bound = _BOUND.get()
    if bound is not None:
        return next(bound.arguments)
    return T.arg(name, T.buffer(list(shape), dtype, layout=None))


def declare_or_bind_scalar(name: str) -> Any:
    """Declare an int64 argument; inside `bind_arguments`, return the next given one instead."""
    bound = _BOUND.get()
    return next(bound.arguments) if bound is not None else T.arg(name, T.int64())


def bind_arguments(arguments: Sequence[Any], declare: Callable[[], R], tokens: Any = None) -> R:
    """Call a function whose declarations return these arguments instead of new ones.

    Parameters
    ----------
    arguments : sequence of Buffer or Var
        One for each `declare_or_bind` and `declare_or_bind_scalar` that `declare` calls, in order.
    declare : callable
    tokens : Var, optional
        What `tokens_of` returns meanwhile, where the number of tokens is symbolic.
    """
    token = _BOUND.set(_Bound(iter(arguments), tokens))
    try:
        return declare()
    finally:
        _BOUND.reset(token)


def no_prefetch(_declared: Any, _start: Any, _width: int) -> None:
    """Leave all reading to the CPU's own prefetchers: see `ColumnTiles.prefetch`."""


@dataclass(frozen=True)
class ColumnTiles:
    """A decode step's kernel as work on tiles of its output columns, which are independent.

    In a batched step a tile has its columns of all tokens.

    Attributes
    ----------
    extent : int
        Output columns.
    multiple : int
        The width of every tile is a multiple of it; divides `extent`.
    width : int
        Columns of a tile where the kernel runs alone.
    elementwise_args : frozenset of int
        The arguments of which a tile touches its own columns only.
    declare : callable
        Declares the arguments with `declare_or_bind` and `declare_or_bind_scalar`, in order, and
        returns them.
    emit : callable
        ``emit(declared, start, width)`` emits the statements of one tile.
    prefetch : callable
        ``prefetch(declared, start, width)`` prefetches what a tile reads first, apart from the
        outputs of other kernels: emitted where their work hides the memory's latency.
    """

    extent: int
    multiple: int
    width: int
    elementwise_args: frozenset[int]
    declare: Callable[[], Any]
    emit: Callable[[Any, Any, int], None]
    prefetch: Callable[[Any, Any, int], None] = no_prefetch

    def body(self) -> None:
        """Emit the tiles as a parallel loop."""
        declared = self.declare()
        with T.parallel(self.extent // self.width) as tile:
            self.emit(declared, tile * self.width, self.width)


@dataclass(frozen=True)
class Kernel:
    """The code of an operator: a PrimFunc of its own, or statements inside another one.

    Attributes
    ----------
    spec : OpSpec
    name : str
    body : callable
        Declares its arguments with `declare_or_bind` and `declare_or_bind_scalar`, in order, and
        emits statements.
    tiles : ColumnTiles, optional
        The same code in tiles, which the tiles of other kernels can follow in one loop.
    """

    spec: OpSpec
    name: str
    body: Callable[[], None]
    tiles: ColumnTiles | None = None

    @classmethod
    def of_tiles(cls, spec: OpSpec, name: str, tiles: ColumnTiles) -> Kernel:
        """Return the kernel whose body is the loop over tiles."""
        return cls(spec, name, tiles.body, tiles)

    def prim_func(self) -> PrimFunc:
        """Return the kernel as a PrimFunc that carries the attributes of `spec`."""
        with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
            T.func_name(self.name)
            T.func_attr(self.spec.attrs())
            self.body()
        return in_root_block(builder.get())

    def inline(self, arguments: Sequence[Any], tokens: Any = None) -> None:
        """Emit the statements into the PrimFunc that is being built, on its buffers.

        Parameters
        ----------
        arguments : sequence of Buffer or Var
            One for each argument that the body declares.
        tokens : Var, optional
            Their number of tokens, where it is symbolic.
        """
        bind_arguments(arguments, self.body, tokens)


def build(spec: OpSpec, name: str, body: Callable[[], None]) -> PrimFunc:
    """Return `Kernel` (spec, name, body) as a PrimFunc."""
    return Kernel(spec, name, body).prim_func()


def in_root_block(func: PrimFunc) -> PrimFunc:
    """Wrap a body in the root block that Relax's analyses and MetaSchedule expect."""
    root = SBlock([], [], [], "root", func.body)
    return func.with_body(SBlockRealize([], True, root))


def tokens_of(spec: OpSpec) -> Any:
    """Return the number of tokens: 1, or a symbolic int64, new unless a kernel is inlined."""
    if not spec.dynamic:
        return 1
    bound = _BOUND.get()
    return T.int64() if bound is None else bound.tokens


@contextmanager
def loop(extent: Any, *, parallel: bool = False) -> Iterator[Any]:
    """Loop over an extent; an extent of the Python integer 1 makes no loop."""
    if isinstance(extent, int) and extent == 1:
        yield 0
        return
    with T.parallel(extent) if parallel else T.serial(extent) as index:
        yield index


def vectors(extent: int, lanes: int, emit: Callable[[Any, int], None]) -> None:
    """Cover ``range(extent)`` with vectors of `lanes` and a scalar loop for what is left.

    Parameters
    ----------
    emit : callable
        ``emit(start, lanes)`` emits the statements for elements start .. start + lanes - 1.
    """
    whole = extent // lanes
    if whole:
        with loop(whole) as index:
            emit(index * lanes, lanes)
    if extent % lanes:
        with loop(extent % lanes) as index:
            emit(whole * lanes + index, 1)
