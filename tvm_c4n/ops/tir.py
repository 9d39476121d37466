"""Small helpers for writing PrimFuncs with TVM's IRBuilder.

Kernels are made by Python functions, not by ``@T.prim_func``: the decorator costs half a second of
source inspection per kernel, and Python loops unroll code that TVMScript would have to spell out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from tvm_c4n._tvm import IRBuilder, PrimFunc, SBlock, SBlockRealize, T
from tvm_c4n.ops.spec import OpSpec

R = TypeVar("R")

LINE = 64
"""Bytes of a cache line."""
ALIGN_ELEMENTS = 64
"""Buffers inside a workspace start at multiples of this: no two share a cache line."""

LOG2_E = 1.4426950408889634
EXP2_COEFFICIENTS = (
    1.3276459649205208e-3,
    9.675540961325169e-3,
    5.550713464617729e-2,
    2.4022120237350464e-1,
    6.931469440460205e-1,
    1.0000001192092896,
)
"""Polynomial of 2^r on [-1/2, 1/2], fitted to a relative error of 7.5e-8 (our own fit)."""
ROUNDING, ROUNDING_BITS = 1.5 * 2**23, 0x4B400000
"""A float32 with room for no fraction, and the same as bits."""
LOG1P_COEFFICIENTS = (
    5.232690691473869e-3,
    -2.9505228896423194e-2,
    7.822594429100288e-2,
    -1.3663246040087978e-1,
    1.9106007425148067e-1,
    -2.4842982585882173e-1,
    3.3319096896873834e-1,
    -4.9999493149263274e-1,
    9.999999698819677e-1,
)
"""Polynomial of log(1 + t) / t on [0, 1], fitted to a relative error of 3.1e-8 (our own fit)."""
# ln 2 in two parts, the first exact in float32 with trailing zeros (Cody and Waite).
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
EXP_COEFFICIENTS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
"""Minimax polynomial of (exp(r) - 1 - r) / r^2 on [-ln2/2, ln2/2] (Cephes, expf)."""


def typed(dtype: str, lanes: int) -> str:
    """Return the name of a vector type; one lane is the scalar type."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def ramp(start: Any, lanes: int, stride: int = 1) -> Any:
    """Return the index of `lanes` elements from `start` on."""
    return start if lanes == 1 else T.ramp(start, stride, lanes)


def splat(value: Any, lanes: int) -> Any:
    """Repeat a scalar expression in all lanes."""
    return value if lanes == 1 else T.broadcast(value, lanes)


def f32(value: float, lanes: int = 1) -> Any:
    """Return a float32 constant in all lanes."""
    return splat(T.float32(value), lanes)


def load(buffer: Any, outer: Sequence[Any], start: Any, lanes: int) -> Any:
    """Read `lanes` consecutive elements of the last axis."""
    return buffer[(*outer, ramp(start, lanes))]


def store(buffer: Any, outer: Sequence[Any], start: Any, lanes: int, value: Any) -> None:
    """Write `lanes` consecutive elements of the last axis."""
    T.buffer_store(buffer, value, [*outer, ramp(start, lanes)])


def prefetch(buffer: Any, place: Sequence[Any], ahead: int, *, non_temporal: bool = False) -> None:
    """Ask for the cache line that lies `ahead` elements behind an element, into the second cache.

    It has more requests in flight than the first one.

    The address may lie beyond the buffer: asking for memory that is not there does nothing.
    """
    address = T.address_of(buffer[(*place[:-1], place[-1] + ahead)])
    prefetch_line(address, non_temporal=non_temporal)


def prefetch_line(address: Any, *, non_temporal: bool = False) -> None:
    """Ask for the cache line at an address, into the second cache; or so that no cache keeps it."""
    locality = T.int32(0 if non_temporal else 2)
    T.evaluate(T.call_intrin("void", "tirx.prefetch", address, T.int32(0), locality, T.int32(1)))


def prefetch_floats(buffer: Any, outer: Sequence[Any], start: Any, count: int) -> None:
    """Ask for `count` float32 elements of the last axis; `start` is a whole line's."""
    for column in range(0, count, LINE // 4):
        prefetch(buffer, (*outer, start + column), 0)


def to_float(value: Any, lanes: int) -> Any:
    """Convert to float32."""
    return T.cast(value, typed("float32", lanes))


def local(shape: Sequence[int], dtype: str = "float32") -> Any:
    """Allocate a small buffer that LLVM keeps in registers when its indices are constants.

    TVM puts CPU buffers on the stack only if their scope is "global" and they are smaller than
    1024 bytes; others, "local" ones too, come from a heap, and LLVM must store every sum.
    """
    return T.alloc_buffer(shape, dtype, scope="global", layout=None)


@contextmanager
def aligned_stack() -> Iterator[None]:
    """Have the stack aligned to cache lines, for the vectors that LLVM spills in between.

    For the body of a parallel loop: elsewhere TVM would move the variable out of the function that
    spills.

    LLVM takes a frame's alignment from its variables, before it knows what it will spill, and TVM
    asks for no more than 16 bytes. Where a process's stack begins would then decide whether spilled
    vectors lie across two lines: some kernels took 1.6 times as long in one process of four. A
    variable of a vector's type has the alignment of its type, and stays where its address is used;
    used at the end, too, its place is given to no other variable, which would stay in memory then.
    """
    anchor = T.alloc_buffer((1,), typed("float32", LINE // 4), scope="global", layout=None)
    prefetch_line(anchor.data)
    yield
    prefetch_line(anchor.data)


_SUPPLIED: ContextVar[Iterator[Any] | None] = ContextVar("supplied", default=None)
"""The arguments of the kernel that is being inlined."""


def ask_nothing(_declared: Any, _start: Any, _width: int) -> None:
    """Leave all reading to the CPU's own prefetchers: see `Columns.ask`."""


@dataclass(frozen=True)
class Columns:
    """A one-token kernel as work on blocks of its output columns, which are independent.

    Attributes
    ----------
    extent : int
        Output columns.
    step : int
        A block is a multiple of it; divides `extent`.
    width : int
        Columns of a block where the kernel runs alone.
    own : frozenset of int
        The arguments of which a block touches its own columns only.
    declare : callable
        Declares the arguments with `argument` and `scalar`, in order, and returns them.
    emit : callable
        ``emit(declared, start, width)`` emits the statements of one block.
    ask : callable
        ``ask(declared, start, width)`` prefetches what a block reads first, beside the outputs of
        other kernels: emitted where their work hides the memory's latency.
    """

    extent: int
    step: int
    width: int
    own: frozenset[int]
    declare: Callable[[], Any]
    emit: Callable[[Any, Any, int], None]
    ask: Callable[[Any, Any, int], None] = ask_nothing

    def body(self) -> None:
        """Emit the blocks as a parallel loop."""
        declared = self.declare()
        with T.parallel(self.extent // self.width) as block:
            self.emit(declared, block * self.width, self.width)


@dataclass(frozen=True)
class Kernel:
    """The code of an operator: a PrimFunc of its own, or statements inside another one.

    Attributes
    ----------
    spec : OpSpec
    name : str
    body : callable
        Declares its arguments with `argument` and `scalar`, in order, and emits statements.
    columns : Columns, optional
        The same code in blocks, which other kernels' blocks can follow.
    """

    spec: OpSpec
    name: str
    body: Callable[[], None]
    columns: Columns | None = None

    @classmethod
    def of_columns(cls, spec: OpSpec, name: str, columns: Columns) -> Kernel:
        """Return the kernel whose body is the loop over blocks of columns."""
        return cls(spec, name, columns.body, columns)

    def prim_func(self) -> PrimFunc:
        """Return the kernel as a PrimFunc that carries the attributes of `spec`."""
        with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
            T.func_name(self.name)
            T.func_attr(self.spec.attrs())
            self.body()
        return in_root_block(builder.get())

    def inline(self, arguments: Sequence[Any]) -> None:
        """Emit the statements into the PrimFunc that is being built, on its buffers.

        Parameters
        ----------
        arguments : sequence of Buffer or Var
            One for each argument that the body declares.
        """
        supply(arguments, self.body)


def supply(arguments: Sequence[Any], declare: Callable[[], R]) -> R:
    """Call a function whose `argument` and `scalar` return these instead of declaring new ones."""
    token = _SUPPLIED.set(iter(arguments))
    try:
        return declare()
    finally:
        _SUPPLIED.reset(token)


def in_root_block(func: PrimFunc) -> PrimFunc:
    """Wrap a body in the root block that Relax's analyses and MetaSchedule expect."""
    root = SBlock([], [], [], "root", func.body)
    return func.with_body(SBlockRealize([], True, root))


def build(spec: OpSpec, name: str, body: Callable[[], None]) -> PrimFunc:
    """Return `Kernel` (spec, name, body) as a PrimFunc."""
    return Kernel(spec, name, body).prim_func()


def argument(name: str, shape: Sequence[Any], dtype: str = "float32") -> Any:
    """Declare a buffer argument."""
    supplied = _SUPPLIED.get()
    if supplied is not None:
        return next(supplied)
    return T.arg(name, T.buffer(list(shape), dtype, layout=None))


def scalar(name: str) -> Any:
    """Declare an int64 argument."""
    supplied = _SUPPLIED.get()
    return next(supplied) if supplied is not None else T.arg(name, T.int64())


def tokens_of(spec: OpSpec) -> Any:
    """Return the number of tokens: 1, or a new symbolic int64."""
    return T.int64() if spec.dynamic else 1


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


def exp2(x: Any, lanes: int) -> Any:
    """Return float32 2^x for x <= 0, within 3 ulp; 2^-126 below -126.

    Fewer instructions than `exp`: the scan computes it once for each state and channel.
    """
    x = T.bind(T.max(x, f32(-126.0, lanes)))
    # The sum has no room for a fraction: its last bits are x rounded to a whole number.
    shifted = T.bind(x + f32(ROUNDING, lanes))
    # Given as bits: TVM simplifies (x + c) - c to x, as if there were no rounding.
    back = T.reinterpret("float32", T.uint32(ROUNDING_BITS))
    r = T.bind(x - (shifted - splat(back, lanes)))
    poly = _polynomial(EXP2_COEFFICIENTS, r, lanes)
    # Unsigned: of a signed number LLVM may assume that no bit is shifted out.
    bits = typed("uint32", lanes)
    exponent = T.reinterpret(bits, shifted) << splat(T.uint32(23), lanes)
    return T.bind(T.reinterpret(typed("float32", lanes), T.reinterpret(bits, poly) + exponent))


def _polynomial(coefficients: Sequence[float], x: Any, lanes: int) -> Any:
    """Return a polynomial whose coefficients are given from the highest power down."""
    total = f32(coefficients[0], lanes)
    for coefficient in coefficients[1:]:
        total = total * x + f32(coefficient, lanes)
    return T.bind(total)


def _power_of_two(power: Any, lanes: int) -> Any:
    """Return 2^power for whole floats -127 (which gives 0) to 127."""
    exponent = T.cast(power, typed("int32", lanes)) + splat(T.int32(127), lanes)
    return T.reinterpret(typed("float32", lanes), exponent << splat(T.int32(23), lanes))


def exp(x: Any, lanes: int) -> Any:
    """Return float32 exp(x) as vector code, within 2 ulp (LLVM would call libm once a lane)."""
    x = T.bind(T.max(T.min(x, f32(88.0, lanes)), f32(-87.0, lanes)))
    power = T.bind(T.nearbyint(x * f32(LOG2_E, lanes)))
    r = T.bind(x - power * f32(LN2_HIGH, lanes) - power * f32(LN2_LOW, lanes))
    poly = _polynomial(EXP_COEFFICIENTS, r, lanes)
    mantissa = poly * (r * r) + r + f32(1.0, lanes)
    return T.bind(mantissa * _power_of_two(power, lanes))


def silu(x: Any, lanes: int) -> Any:
    """Return x * sigmoid(x)."""
    x = T.bind(x)
    return x / (f32(1.0, lanes) + exp(f32(0.0, lanes) - x, lanes))


def softplus(x: Any, lanes: int) -> Any:
    """Return log(1 + exp(x)) as max(x, 0) + log1p(exp(-abs(x)))."""
    x = T.bind(x)
    t = exp(f32(0.0, lanes) - T.max(x, f32(0.0, lanes) - x), lanes)
    return T.max(x, f32(0.0, lanes)) + t * _polynomial(LOG1P_COEFFICIENTS, t, lanes)
