"""What is measured: a library with a kernel's ``main``, and ``fill``, which writes its arguments.

A decode step reads weights that were not read since the last token, so ``main`` of a one-token
kernel goes round `copies` of the weights. ``fill`` makes every page of them a page of its own:
fresh memory is one page of zeros, which stays in the cache. It also spares the device's server
from having TVM's random functions.
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
from tvm_c4n._tvm import IRBuilder, IRModule, PrimFunc, T, Target, tirx, tvm
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.model.relax_mamba import MAX_TOKENS
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import Kernel, in_root_block
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.worker import ENTRY, FILL

COLD_BYTES = 2**26
"""Of copies of weights: twice the largest cache of the machines that we know. A step comes back to
a weight when its other weights, its state and the neighbours of a shared cache have been there."""
MAX_COPIES = 1024
ROUNDS = 16
"""Of kernels without weights."""
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


def arguments_of(kernel: Kernel) -> list[Argument | None]:
    """Return a kernel's arguments, None for a number (the layer of a state).

    A symbolic number of tokens stands for a whole chunk.
    """
    return [
        Argument(tuple(map(_extent, param.shape)), str(param.dtype))
        if isinstance(param.ty, tirx.BufferType)
        else None
        for param in kernel.prim_func().params
    ]


def _extent(number: Any) -> int:
    return int(number) if isinstance(number, tirx.IntImm) else MAX_TOKENS


def measured(kernel: Kernel, cold_bytes: int) -> tuple[IRModule, list[Argument], int]:
    """Return the module to build, the arguments to pass, and how often ``main`` runs the kernel.

    Parameters
    ----------
    kernel : Kernel
    cold_bytes : int
        Weights that ``main`` goes round, if `MAX_COPIES` are enough for that; 0: one copy.
    """
    spec = kernel.spec
    declared = arguments_of(kernel)
    if spec.dynamic:
        tensors = [a for a in declared if a is not None]
        main = _of_first_layer(kernel.prim_func()).with_attr("global_symbol", ENTRY)
        return _module(main, tensors), tensors, 1
    place, copies = None, ROUNDS
    if isinstance(spec, LinearSpec):
        # The weights come after the activations and, where they are int8, their scales.
        place = 2 if spec.integer else 1
        weights = declared[place]
        assert weights is not None  # noqa: S101 - a tensor
        copies = max(1, min(MAX_COPIES, cold_bytes // max(1, weights.size_bytes)))
        declared[place] = Argument((copies, *weights.shape), weights.dtype)
    tensors = [a for a in declared if a is not None]
    # A kernel so small that it has no loop to share runs on one thread.
    parallel = only_parallel(kernel.prim_func())
    main = _build(ENTRY, tensors, partial(_rounds, kernel, declared, place, copies, parallel))
    return _module(main, tensors), tensors, copies


def _of_first_layer(func: PrimFunc) -> PrimFunc:
    """Take the number of the layer from the arguments: 0."""
    numbers = [p for p in func.params if not isinstance(p.ty, tirx.BufferType)]
    return func.specialize({number: tirx.IntImm("int64", 0) for number in numbers})


def _rounds(
    kernel: Kernel,
    declared: list[Argument | None],
    place: int | None,
    copies: int,
    parallel: bool,
    buffers: list[Any],
) -> None:
    """Run the kernel `copies` times in one parallel region, as a decode step runs its kernels."""
    given = iter(buffers)
    actual = [T.int64(0) if argument is None else next(given) for argument in declared]
    with ExitStack() as stack:
        if parallel:
            stack.enter_context(T.attr(T.int32(0), LAUNCH, 1))
        copy = stack.enter_context(T.serial(copies))
        now = list(actual)
        if place is not None:
            whole = declared[place]
            assert whole is not None  # noqa: S101 - a tensor
            shape = whole.shape[1:]
            pointer = T.bind(T.address_of(actual[place][(copy, *(0 for _ in shape))]))
            now[place] = T.decl_buffer(shape, whole.dtype, data=pointer, layout=None)
        if parallel:
            stack.enter_context(T.attr(T.int32(0), BARRIER, 1))
        kernel.inline(now)


def _module(main: Any, arguments: list[Argument]) -> IRModule:
    return IRModule({ENTRY: main, FILL: _build(FILL, arguments, partial(_fill, arguments))})


def _build(name: str, arguments: list[Argument], emit: Callable[[list[Any]], None]) -> Any:
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"global_symbol": name, "tirx.noalias": True})
        emit(
            [
                T.arg(f"a{i}", T.buffer(list(a.shape), a.dtype, layout=None))
                for i, a in enumerate(arguments)
            ]
        )
    return in_root_block(builder.get())


def _fill(arguments: list[Argument], buffers: list[Any]) -> None:
    """Write numbers that repeat late and are harmless as floats."""
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


def compile_measured(mod: IRModule, target: Target, out: Path) -> None:
    """Build the library of `measured` for a target."""
    library = tvm.compile(mod, target)
    library.export_library(str(out), fcompile=make_fcompile(str(target.attrs["mtriple"])))


def args_info(arguments: list[Argument]) -> list[Any]:
    """Return the arguments as MetaSchedule's runners take them."""
    return [ms.arg_info.TensorInfo(a.dtype, list(a.shape)) for a in arguments]
