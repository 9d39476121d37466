"""The harness of a timed kernel: a library with its ``main``, and ``fill``, its arguments' writer.

A decode step reads weights that it has not read since the last token, so ``main`` of a one-token
kernel repeats the kernel and cycles through as many copies of the weights. ``fill`` makes every
page of them a page of its own: fresh memory is one page of zeros, which stays in the cache. It also
spares the device's server TVM's random functions.

A kernel for prompts has activations of a whole chunk, which others have been at since it was last
called: ``main`` of it cycles through copies of all its tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from relay_passes.regions.parallel import BARRIER, LAUNCH, only_parallel
from tvm_c4n._tvm import BufferType, IRBuilder, IRModule, PrimFunc, T, Target, tirx, tvm
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.target import triple_of
from tvm_c4n.model.config import MAX_TOKENS
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import Kernel, in_root_block

# The functions of a library that is timed; MetaSchedule knows the first by its name.
ENTRY, FILL = "main", "fill"
# Bytes of the copies of weights: twice the largest cache of the machines that we know. Before a
# step comes back to a weight, its other weights, its state and the neighbours on a shared cache
# have all been there.
COLD_BYTES = 2**26
MAX_REPEATS = 1024
# Repeats of a kernel that has no weights to cycle through.
WEIGHTLESS_REPEATS = 16
_BYTES = {"uint8": 1, "int8": 1, "float16": 2, "uint32": 4, "int32": 4, "float32": 4}


@dataclass(frozen=True)
class Argument:
    """A tensor of ``main``: shape and dtype."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Bytes of its elements."""
        return prod(self.shape) * _BYTES[self.dtype]


@dataclass(frozen=True)
class Harness:
    """What a runner loads and times.

    Attributes
    ----------
    mod : IRModule
        With the functions ``main`` and ``fill``, which take the same arguments.
    arguments : list of Argument
    repeats : int
        How often one call of ``main`` runs the kernel.
    """

    mod: IRModule
    arguments: list[Argument]
    repeats: int

    def compile(self, target: Target, library: Path) -> Any:
        """Write the library; returns it as MetaSchedule's runners take it."""
        # Only here: it needs the extra `tune`, which who times kernels without runners can spare.
        from tvm_c4n.tuning.metaschedule import ms

        compiled = tvm.compile(self.mod, target)
        fcompile = make_fcompile(triple_of(target))
        compiled.export_library(str(library), fcompile=fcompile)
        infos = [ms.arg_info.TensorInfo(a.dtype, list(a.shape)) for a in self.arguments]
        return ms.runner.RunnerInput(str(library), "cpu", infos)


def build_harness(kernel: Kernel, cold_bytes: int) -> Harness:
    """Return the harness of a kernel.

    Parameters
    ----------
    kernel : Kernel
    cold_bytes : int
        Bytes that ``main`` cycles through, if `MAX_REPEATS` are enough for that, of weights or, in
        a kernel for prompts, of all tensors; 0: one copy.
    """
    spec = kernel.spec
    declared = _arguments_of(kernel)
    if spec.dynamic:
        return _chunk_harness(kernel, declared, cold_bytes)
    weight_index, repeats = None, WEIGHTLESS_REPEATS
    if isinstance(spec, LinearSpec):
        # The weights come after the activations and, where these are int8, their scales.
        weight_index = 2 if spec.integer else 1
        weights = declared[weight_index]
        assert weights is not None  # noqa: S101 - a tensor
        repeats = max(1, min(MAX_REPEATS, cold_bytes // max(1, weights.size_bytes)))
        declared[weight_index] = Argument((repeats, *weights.shape), weights.dtype)
    tensors = [a for a in declared if a is not None]
    # A kernel so small that it has no parallel loop runs on one thread.
    parallel = only_parallel(kernel.prim_func())
    emit = partial(_emit_repeats, kernel, declared, weight_index, repeats, parallel)
    return Harness(_module(_function(ENTRY, tensors, emit), tensors), tensors, repeats)


def _chunk_harness(kernel: Kernel, declared: list[Argument | None], cold_bytes: int) -> Harness:
    """Return the harness of a kernel for prompts; it takes its number of tokens at run time."""
    whole = sum(a.size_bytes for a in declared if a is not None)
    copies = max(1, min(MAX_REPEATS, -(-cold_bytes // whole)))
    if copies == 1:
        tensors = [a for a in declared if a is not None]
        main = _of_first_layer(kernel.prim_func()).with_attr("global_symbol", ENTRY)
        return Harness(_module(main, tensors), tensors, 1)
    tensors = [Argument((copies, *a.shape), a.dtype) for a in declared if a is not None]
    symbolic = [
        None if argument is None else tuple(param.shape)
        for argument, param in zip(declared, kernel.prim_func().params, strict=True)
    ]

    def emit() -> None:
        tokens = T.int64()

        def own(shape: tuple[Any, ...]) -> list[Any]:
            return [int(n) if isinstance(n, tirx.IntImm) else tokens for n in shape]

        shapes = [None if shape is None else own(shape) for shape in symbolic]
        dtypes = iter(a.dtype for a in tensors)
        buffers = [
            None if s is None else T.arg(f"a{i}", T.buffer([copies, *s], next(dtypes), layout=None))
            for i, s in enumerate(shapes)
        ]
        with T.serial(copies) as number:
            now = [
                T.int64(0) if buffer is None else _copy_of(buffer, number, shape)
                for buffer, shape in zip(buffers, shapes, strict=True)
            ]
            kernel.inline(now, tokens)

    return Harness(_module(_function_of(ENTRY, emit), tensors), tensors, copies)


def _copy_of(buffer: Any, number: Any, shape: Any) -> Any:
    """Declare one of the tensors that lie behind each other in a buffer."""
    pointer = T.bind(T.address_of(buffer[(number, *(0 for _ in shape))]))
    return T.decl_buffer(shape, buffer.dtype, data=pointer, layout=None)


def _arguments_of(kernel: Kernel) -> list[Argument | None]:
    """Return a kernel's arguments, None for a number (the layer of a state).

    A symbolic number of tokens stands for a whole chunk.
    """
    return [
        Argument(tuple(map(_extent, param.shape)), str(param.dtype))
        if isinstance(param.ty, BufferType)
        else None
        for param in kernel.prim_func().params
    ]


def _extent(number: Any) -> int:
    return int(number) if isinstance(number, tirx.IntImm) else MAX_TOKENS


def _of_first_layer(func: PrimFunc) -> PrimFunc:
    """Take the number of the layer from the arguments: 0."""
    numbers = [p for p in func.params if not isinstance(p.ty, BufferType)]
    return func.specialize({number: tirx.IntImm("int64", 0) for number in numbers})


def _emit_repeats(
    kernel: Kernel,
    declared: list[Argument | None],
    weight_index: int | None,
    repeats: int,
    parallel: bool,
    buffers: list[Any],
) -> None:
    """Emit the kernel's repeats in one parallel region, as a decode step runs its kernels."""
    given = iter(buffers)
    actual = [T.int64(0) if argument is None else next(given) for argument in declared]
    with ExitStack() as stack:
        # 1. One launch of the thread pool around all repeats.
        if parallel:
            stack.enter_context(T.attr(T.int32(0), LAUNCH, 1))
        repeat = stack.enter_context(T.serial(repeats))
        # 2. Each repeat has its own copy of the weights.
        now = list(actual)
        if weight_index is not None:
            whole = declared[weight_index]
            assert whole is not None  # noqa: S101 - a tensor
            now[weight_index] = _copy_of(actual[weight_index], repeat, whole.shape[1:])
        # 3. A barrier ends the kernel, as in a step.
        if parallel:
            stack.enter_context(T.attr(T.int32(0), BARRIER, 1))
        kernel.inline(now)


def _module(main: Any, arguments: list[Argument]) -> IRModule:
    return IRModule({ENTRY: main, FILL: _function(FILL, arguments, partial(_fill, arguments))})


def _function(name: str, arguments: list[Argument], emit: Callable[[list[Any]], None]) -> Any:
    def declare_and_emit() -> None:
        emit(
            [
                T.arg(f"a{i}", T.buffer(list(a.shape), a.dtype, layout=None))
                for i, a in enumerate(arguments)
            ]
        )

    return _function_of(name, declare_and_emit)


def _function_of(name: str, emit: Callable[[], None]) -> Any:
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"global_symbol": name, "tirx.noalias": True})
        emit()
    return in_root_block(builder.get())


def _fill(arguments: list[Argument], buffers: list[Any]) -> None:
    """Emit writes of numbers that repeat late and are harmless as floats."""
    for argument, buffer in zip(arguments, buffers, strict=True):
        *outer, inner = argument.shape
        with T.parallel(prod(outer)) as row, T.serial(inner) as column:
            index, rest = [], row
            for extent in reversed(outer):
                index.append(rest % extent)
                rest = rest // extent
            number = (row * 7919 + column * 31) % 251
            value = T.cast(number, argument.dtype)
            if argument.dtype.startswith("float"):
                value = (value - T.cast(125, argument.dtype)) * T.cast(0.01, argument.dtype)
            T.buffer_store(buffer, value, [*reversed(index), column])
