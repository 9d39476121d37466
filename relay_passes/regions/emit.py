"""One PrimFunc for the kernels of a run: a region with one parallel launch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from relay_passes.regions.loop_fusion import Stage, stages
from relay_passes.regions.parallel import BARRIER, LAUNCH
from relay_passes.regions.select import KernelCall, Run
from relay_passes.regions.signature import InPlace, Param, RegionSignature, Result
from relay_passes.regions.symbols import Symbols, dims, is_symbolic
from tvm_c4n._tvm import IRBuilder, PrimFunc, T, relax
from tvm_c4n.ops.attrs import REGION, REGION_SCHEDULES
from tvm_c4n.ops.tir import (
    ALIGN_ELEMENTS,
    declare_or_bind,
    declare_or_bind_scalar,
    in_root_block,
)


@dataclass(frozen=True)
class Region:
    """A run as one kernel.

    Attributes
    ----------
    func : PrimFunc
    signature : RegionSignature
        Its last results are workspaces, one for each data type that needs one.
    inputs : tuple
        A Relax expression for each parameter.
    outputs : tuple of relax.Var
        The run's variables that are read later, one for each result that is no workspace.
    """

    func: PrimFunc
    signature: RegionSignature
    inputs: tuple[Any, ...]
    outputs: tuple[relax.Var, ...]


@dataclass(frozen=True)
class _Temporary:
    """An output that only the run itself reads: a piece of the workspace of its data type."""

    var: relax.Var
    place: list[int]


def make_region(run: Run, later: set[Any]) -> Region:
    """Return the region that replaces a run.

    Parameters
    ----------
    run : Run
    later : set of relax.Var
        What is read after it.
    """
    # Step 1: order the calls as they will run.
    found = stages(run.calls)
    run = replace(run, calls=[call for stage in found for loop in stage for call in loop.calls])

    # Step 2: name the values. Constants have no identity in Python, where each access makes a new
    # wrapper, so they are known by the parameter that `same_as` finds.
    inputs = run.external_inputs
    params = tuple(Param(f"in{index}", value.ty) for index, value in enumerate(inputs))
    names: dict[Any, str] = {
        value: param.name
        for value, param in zip(inputs, params, strict=True)
        if isinstance(value, relax.Var)
    }

    # Step 3: an output that updates an input has the input's name and memory.
    for call in run.calls:
        for output, place in call.inplace.items():
            if call.outputs[output] is not None:
                names[call.outputs[output]] = names[call.inputs[place]]
    states = [var for var in run.outputs if var in names and var in later]

    # Step 4: the other outputs are results if something reads them later, else temporaries.
    fresh = [var for var in run.outputs if var not in names and var in later]
    names |= {var: f"out{index}" for index, var in enumerate(fresh)}
    temporaries, shapes = _temporaries([var for var in run.outputs if var not in names])
    names |= {temporary.var: f"tmp{i}" for i, temporary in enumerate(temporaries)}

    # Step 5: states first, then new tensors, then the workspaces.
    work = {dtype: Result.workspace(dtype, shape) for dtype, shape in shapes.items()}
    results = [Result(names[var], var.ty, InPlace(names[var])) for var in states]
    results += [*(Result(names[var], var.ty) for var in fresh), *work.values()]
    signature = RegionSignature(params, tuple(results))

    def name_of(value: Any) -> str:
        if isinstance(value, relax.Var):
            return names[value]
        return next(p.name for p, v in zip(params, inputs, strict=True) if v.same_as(value))

    spaces = {dtype: result.name for dtype, result in work.items()}
    func = _emit(found, signature, temporaries, spaces, name_of)
    return Region(func, signature, tuple(inputs), (*states, *fresh))


def _temporaries(
    variables: list[relax.Var],
) -> tuple[list[_Temporary], dict[str, list[Any]]]:
    """Place variables in workspaces one after the other; returns also the workspaces' shapes."""
    placed: list[_Temporary] = []
    sizes: dict[str, int] = defaultdict(int)  # elements by data type, in a batch of a token
    tokens = [var.ty.shape[0] for var in variables if is_symbolic(var.ty.shape[0])][:1]
    for var in variables:
        dtype = str(var.ty.dtype)
        placed.append(_Temporary(var, [sizes[dtype], *(0 for _ in tokens)]))
        row = [dim for dim in dims(var.ty) if not is_symbolic(dim)]
        sizes[dtype] += -(-prod(row) // ALIGN_ELEMENTS) * ALIGN_ELEMENTS
    return placed, {dtype: [size, *tokens] for dtype, size in sizes.items()}


def _emit(
    found: list[Stage],
    signature: RegionSignature,
    temporaries: list[_Temporary],
    spaces: dict[str, str],
    name_of: Callable[[Any], str],
) -> PrimFunc:
    calls = [call for stage in found for loop in stage for call in loop.calls]
    about = {
        REGION: " ".join(call.kernel.spec.kind for call in calls),
        REGION_SCHEDULES: "; ".join(call.schedule for call in calls),
    }
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("c4n_region")
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, **about})

        # Step 1: declare the parameters and the fresh results.
        symbols = Symbols()
        buffers = {
            entry.name: _declare(entry.name, entry.type, symbols) for entry in signature.arguments
        }

        # Step 2: temporaries are views of a workspace.
        for temporary in temporaries:
            kind = temporary.var.ty
            work = buffers[spaces[str(kind.dtype)]]
            pointer = T.bind(T.address_of(work[tuple(temporary.place)]))
            buffers[name_of(temporary.var)] = T.decl_buffer(
                symbols.shape(kind), str(kind.dtype), data=pointer, layout=None
            )

        # Step 3: one launch; after each stage the threads wait for each other.
        with T.attr(T.int32(0), LAUNCH, 1):
            for stage in found:
                with T.attr(T.int32(0), BARRIER, 1):
                    for loop in stage:
                        arguments = [
                            [buffers[name_of(value)] for value in _kernel_arguments(call)]
                            for call in loop.calls
                        ]
                        loop.emit(arguments)
    return in_root_block(builder.get())


def _kernel_arguments(call: KernelCall) -> list[Any]:
    """Return the values of a kernel's arguments: its inputs, and its outputs that are no input."""
    fresh = (var for output, var in enumerate(call.outputs) if output not in call.inplace)
    return [*call.inputs, *fresh]


def _declare(name: str, kind: Any, symbols: Symbols) -> Any:
    """Declare a PrimFunc argument of a Relax type."""
    if isinstance(kind, relax.TensorType):
        return declare_or_bind(name, symbols.shape(kind), str(kind.dtype))
    return declare_or_bind_scalar(name)
