"""Where the time of a decode step goes: each kernel by itself, beside the step as it runs.

An artifact's step is a few regions that hold many kernels; clocks between them would need another
step than the one that runs. So the model is compiled once more without `FuseRegions`: every kernel
is a function then. One step is recorded, each function with its arguments, and replayed call by
call in the step's order: a kernel meets the weights, the small arrays and the caches as in the
step. A call costs something by itself (a fork and a join of the thread pool, mostly), which is
measured with an empty kernel and taken off; the fused step pays a barrier instead, which appears in
what is left between the sum of the kernels and the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np

from tvm_c4n._tvm import IRBuilder, IRModule, T, Target, relax, tvm
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.compile.build import generate, phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.model.config import PROJECTIONS, MambaConfig
from tvm_c4n.model.relax_mamba import build_mamba, state_shapes
from tvm_c4n.ops.spec import LinearSpec, spec_of
from tvm_c4n.progress import Progress
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.engine import Engine

LINEAR = (*PROJECTIONS, "head")
_TOKEN = 1
_WARM_STEPS = 10
_EMPTY_CALLS = 20


@dataclass(frozen=True)
class Stage:
    """A kernel of the step, all its calls together.

    Attributes
    ----------
    name : str
        The projection, or the kind of operator.
    calls : int
        In a step.
    micros : float
        Microseconds a step, without the cost of the calls.
    size_bytes : int
        Of the arguments of a projection, nearly all of it weights: what it reads in a step. 0 for
        the other kernels, which touch a part of their arguments only.
    """

    name: str
    calls: int
    micros: float
    size_bytes: int

    @property
    def gbs(self) -> float:
        """GB of weights read a second."""
        return self.size_bytes / 1e3 / self.micros if self.micros else 0.0


@dataclass(frozen=True)
class Profile:
    """Where a step's time goes; all times in microseconds, medians over repetitions.

    Attributes
    ----------
    threads : int
    stages : list of Stage
        In the step's order.
    step : float
        The step as the artifact runs it.
    call : float
        What the call of an empty kernel costs.
    """

    threads: int
    stages: list[Stage]
    step: float
    call: float

    @property
    def kernels(self) -> float:
        """Sum of the kernels."""
        return sum(stage.micros for stage in self.stages)


def profile_step(
    model: str | Path, threads: int, *, reps: int = 20, progress: Progress | None = None
) -> Profile:
    """Profile a model's decode step on this machine.

    Parameters
    ----------
    model : str or Path
        Name of an embedded model, Hugging Face folder or C4n folder.
    threads : int
    reps : int
        Repetitions of the step and of the replay.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

    Raises
    ------
    C4nError
        As `compile_model` and `Engine.load`.
    """

    def tell(what: str, done: int) -> None:
        if progress is not None:
            progress(what, done, 4)

    with TemporaryDirectory(prefix="tvm-c4n-") as folder:
        tell("compiling the step", 0)
        compile_model(model, Path(folder) / "artifact")
        engine = Engine.load(Path(folder) / "artifact", threads=threads)
        tell("compiling its kernels", 1)
        calls = _Calls(model, Path(folder))
        huge_pages.wait()
        tell("measuring the step", 2)
        step = _median_micros(lambda: engine.step(_TOKEN), reps)
        tell("measuring the kernels", 3)
        engine.set_threads(threads)  # the pool's: a step takes fewer beside other programs
        stages, call = calls.measure(reps, _empty_kernel(Path(folder)))
        tell("measuring the kernels", 4)
    return Profile(threads, stages, step, call)


class _Calls:
    """The kernels of an unfused step, recorded with their arguments."""

    def __init__(self, model: str | Path, folder: Path):
        checkpoint = open_checkpoint(model)
        config, target = MambaConfig.from_hf(checkpoint.config), resolve_target("host")
        mod = _unfused(build_mamba(config, checkpoint), target)
        self._names = _names(mod, config)
        vm = _load(generate(mod, target), target, folder / "kernels.so")
        states = [np.zeros(shape, np.float32) for shape in state_shapes(config)]
        inputs = [np.array([_TOKEN], np.int32), *states]
        arguments = [tvm.runtime.tensor(array) for array in inputs]
        self._recorded: list[tuple[Any, str, tuple[Any, ...]]] = []

        def record(function: Any, name: str, before: bool, _result: Any, *args: Any) -> int:
            if before and name in self._names:
                self._recorded.append((function, name, args))
            return 0

        vm.set_instrument(record)
        vm["step"](*arguments)
        self._vm = vm  # the recorded arguments are views of its constants

    def measure(self, reps: int, empty: Callable[[], Any]) -> tuple[list[Stage], float]:
        """Replay the step; also returns the microseconds that are taken off each call.

        They are those of calls of `empty` after each replay: where the system has put the threads,
        a call can cost three times as much.
        """
        names = dict.fromkeys(self._names[name] for _, name, _ in self._recorded)
        samples: dict[str, list[int]] = {name: [] for name in names}
        empty_calls: list[float] = []
        for rep in range(reps + _WARM_STEPS):
            took = dict.fromkeys(names, 0)
            for function, symbol, args in self._recorded:
                began = perf_counter_ns()
                function(*args)
                took[self._names[symbol]] += perf_counter_ns() - began
            if rep >= _WARM_STEPS:
                for name, ns in took.items():
                    samples[name].append(ns)
            empty_calls.append(_median_micros(empty, _EMPTY_CALLS))
        call = median(empty_calls[_WARM_STEPS:])
        return [self._stage(name, median(samples[name]) / 1e3, call) for name in names], call

    def _stage(self, name: str, micros: float, call: float) -> Stage:
        mine = [args for _, symbol, args in self._recorded if self._names[symbol] == name]
        linear = name in LINEAR
        size = sum(_size(arg) for args in mine for arg in args) if linear else 0
        return Stage(name, len(mine), max(0.0, micros - call * len(mine)), size)


def _unfused(mod: IRModule, target: Target) -> IRModule:
    """Run the phases that make kernels, without the one that joins them."""
    select = selector(target, mod=mod)
    return prepare(mod, select, phases_for(select, lift=False).without("fuse"))


def _names(mod: IRModule, config: MambaConfig) -> dict[str, str]:
    """Return by symbol the names of kernels: projections by their shape, others by their kind."""
    tensors = config.tensor_shapes()
    shapes = {tensors[config.projection(0, name)]: name for name in PROJECTIONS}
    names = {}
    for gvar, func in mod.functions_items():
        spec = spec_of(func)
        if isinstance(spec, LinearSpec):
            names[gvar.name_hint] = shapes.get((spec.rows, spec.cols), "head")
        elif spec is not None:
            names[gvar.name_hint] = spec.kind
    return names


def _load(executable: Any, target: Target, file: Path) -> relax.VirtualMachine:
    executable.export_library(str(file), fcompile=make_fcompile(str(target.attrs["mtriple"])))
    return relax.VirtualMachine(tvm.runtime.load_module(str(file)), tvm.cpu())


def _empty_kernel(folder: Path) -> Callable[[], Any]:
    """Compile a kernel whose parallel loop does next to nothing."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("empty")
        out = T.arg("out", T.buffer((64,), "int32"))
        with T.parallel(64) as i:
            T.buffer_store(out, i, [i])
    target = resolve_target("host")
    library = tvm.compile(IRModule({"empty": builder.get()}), target)
    file = folder / "empty.so"
    library.export_library(str(file), fcompile=make_fcompile(str(target.attrs["mtriple"])))
    return partial(
        tvm.runtime.load_module(str(file))["empty"], tvm.runtime.tensor(np.zeros(64, np.int32))
    )


def _median_micros(run: Callable[[], Any], reps: int) -> float:
    samples = []
    for rep in range(reps + _WARM_STEPS):
        began = perf_counter_ns()
        run()
        if rep >= _WARM_STEPS:
            samples.append(perf_counter_ns() - began)
    return median(samples) / 1e3


def _size(argument: Any) -> int:
    """Return the bytes of a tensor, 0 for anything else."""
    shape = getattr(argument, "shape", None)
    if shape is None:
        return 0
    return int(np.prod([int(n) for n in shape])) * np.dtype(str(argument.dtype)).itemsize
