"""A decode step without fusion: recorded once, and replayed kernel by kernel for `profile`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from tvm_c4n._tvm import IRBuilder, IRModule, T, Target, name_of, relax, tvm
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.build import generate, phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.target import resolve_target, triple_of
from tvm_c4n.evaluate.undisturbed import repeat
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.spec import ExpertLinearSpec, LinearSpec, spec_of

TOKEN = 1
# Calls of the empty kernel after each replay.
_EMPTY_CALLS = 20


@dataclass(frozen=True)
class Stage:
    """A kernel of the step, all its calls together.

    Attributes
    ----------
    name : str
        The projection, or the kind of operator.
    calls : int
        Calls per step.
    micros : float
        Microseconds per step, without the cost of the calls.
    size_bytes : int
        Bytes of a projection's arguments, nearly all of them weights: what it reads per step. 0 for
        the other kernels, which touch a part of their arguments only.
    """

    name: str
    calls: int
    micros: float
    size_bytes: int

    @property
    def gbs(self) -> float:
        """GB of weights read per second."""
        return self.size_bytes / 1e3 / self.micros if self.micros else 0.0


class Replay:
    """The kernels of an unfused step, recorded with their arguments."""

    def __init__(self, model: str | Path, folder: Path):
        checkpoint = open_checkpoint(model)
        config, target = describe_model(checkpoint.config), resolve_target("host")
        mod = unfused(build_model(config, checkpoint), target)
        self._names = _names(mod, config)
        layers = (layer.projections().values() for layer in config.layers)
        self._shares = {"head": 1.0} | {p.name: p.share for layer in layers for p in layer}
        vm = _load(generate(mod, target), target, folder / "kernels.so")
        states = [np.zeros(state.shape, state.dtype) for state in config.states()]
        inputs = [np.array([TOKEN], np.int32), *states]
        arguments = [tvm.runtime.tensor(array) for array in inputs]
        self._recorded: list[tuple[Any, str, tuple[Any, ...]]] = []

        def record(function: Any, name: str, before: bool, _result: Any, *args: Any) -> int:
            if before and name in self._names:
                self._recorded.append((function, name, args))
            return 0

        vm.set_instrument(record)
        vm["step"](*arguments)
        self._vm = vm  # the recorded arguments are views of its constants

    def measure(
        self, reps: int, threads: int, empty: Callable[[], Any]
    ) -> tuple[list[Stage], float]:
        """Replay the step; also returns the microseconds that are subtracted for each call.

        They are those of calls of `empty` after each replay: where the system has put the threads,
        a call can cost three times as much.
        """
        names = dict.fromkeys(self._names[name] for _, name, _ in self._recorded)

        def replay() -> tuple[dict[str, int], float]:
            took = dict.fromkeys(names, 0)
            for function, symbol, args in self._recorded:
                began = perf_counter_ns()
                function(*args)
                took[self._names[symbol]] += perf_counter_ns() - began
            return took, median(micros_of(empty) for _ in range(_EMPTY_CALLS))

        samples = repeat(replay, reps, threads)
        call = median(micros for _, micros in samples)
        found = {name: median(took[name] for took, _ in samples) / 1e3 for name in names}
        return [self._stage(name, micros, call) for name, micros in found.items()], call

    def _stage(self, name: str, micros: float, call: float) -> Stage:
        mine = [args for _, symbol, args in self._recorded if self._names[symbol] == name]
        size = sum(_size(arg) for args in mine for arg in args)
        read = round(self._shares.get(name, 0.0) * size)
        return Stage(name, len(mine), max(0.0, micros - call * len(mine)), read)


def unfused(mod: IRModule, target: Target) -> IRModule:
    """Run the phases that make kernels, without the one that joins them."""
    select = selector(target, mod=mod)
    return prepare(mod, select, phases_for(select, lift=False).without("fuse"))


def _names(mod: IRModule, config: ModelConfig) -> dict[str, str]:
    """Return by symbol the names of kernels: projections by their shape, others by their kind."""
    shapes = shapes_of_projections(config)
    names = {}
    for gvar, func in mod.functions_items():
        spec = spec_of(func)
        if isinstance(spec, LinearSpec):
            # What is no projection and no head: a router.
            other = "head" if spec.rows == config.vocab_size else spec.kind
            names[name_of(gvar)] = shapes.get((spec.rows, spec.cols), other)
        elif isinstance(spec, ExpertLinearSpec):
            names[name_of(gvar)] = shapes[spec.experts * spec.rows, spec.cols]
        elif spec is not None:
            names[name_of(gvar)] = spec.kind
    return names


def shapes_of_projections(config: ModelConfig) -> dict[tuple[int, ...], str]:
    """Return the projections' names by (rows, cols); of several with one shape the last one's."""
    shapes = config.tensor_shapes()
    layers = (layer.projections().values() for layer in config.layers)
    return {shapes[p.weight]: p.name for layer in layers for p in layer}


def _load(executable: Any, target: Target, file: Path) -> relax.VirtualMachine:
    executable.export_library(str(file), fcompile=make_fcompile(triple_of(target)))
    return relax.VirtualMachine(tvm.runtime.load_module(str(file)), tvm.cpu())


def empty_kernel(folder: Path) -> Callable[[], Any]:
    """Compile a kernel whose parallel loop does next to nothing."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("empty")
        out = T.arg("out", T.buffer((64,), "int32"))
        with T.parallel(64) as i:
            T.buffer_store(out, i, [i])
    target = resolve_target("host")
    library = tvm.compile(IRModule({"empty": builder.get()}), target)
    file = folder / "empty.so"
    library.export_library(str(file), fcompile=make_fcompile(triple_of(target)))
    return partial(
        tvm.runtime.load_module(str(file))["empty"], tvm.runtime.tensor(np.zeros(64, np.int32))
    )


def micros_of(run: Callable[[], Any]) -> float:
    """Return the microseconds that one call takes."""
    began = perf_counter_ns()
    run()
    return (perf_counter_ns() - began) / 1e3


def _size(argument: Any) -> int:
    """Return the bytes of a tensor, 0 for anything else."""
    shape = getattr(argument, "shape", None)
    if shape is None:
        return 0
    return int(np.prod([int(n) for n in shape])) * np.dtype(str(argument.dtype)).itemsize
