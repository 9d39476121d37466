"""The latency table: what each dense layer of a model costs on a device.

A table of single kernels leaves something out. Kernels that share a region wait for each other less
often than by themselves, and a step has calls, norms, scans and an embedding besides. This fixed
overhead depends on a model's sizes, hardly on its patterns, so one *reference model* of the same
sizes shows it: it is what that model's step takes beyond its dense layers.

docs/reference/format-latency.md specifies the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeAlias, get_args

import numpy as np

from tvm_c4n.checkpoint import Checkpoint, open_checkpoint
from tvm_c4n.checkpoint.c4n_writer import C4nWriter
from tvm_c4n.checkpoint.files import make_folder, write_atomically
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.records import machine_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.model.families import describe_model
from tvm_c4n.ops.c4n_linear import padded_cols
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec, QuantizeSpec
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.latency import FILE, LatencyEntry, LatencyTable, Rest, Seconds
from tvm_c4n.pruning.recipe import Choice, Recipe, WeightDType
from tvm_c4n.runtime.artifact import Artifact, open_artifact
from tvm_c4n.runtime.bench import Cell
from tvm_c4n.runtime.device.remote import RemoteEngine
from tvm_c4n.runtime.device.rpc import RpcAddress, open_session
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.sparsity import GROUP, default_scale_group, from_dense, mask_from_scores
from tvm_c4n.tuning.measurer import Measurer, error_line
from tvm_c4n.tuning.tasks import operators_of

DTYPES: tuple[WeightDType, ...] = get_args(WeightDType)
# All kernels are timed once per round: a device that is disturbed for a second costs no row its
# median.
ROUNDS = 3
# The dense layers of the reference model are cheap, so that an error in their rows weighs little in
# the difference.
REFERENCE_RECIPE = Recipe(removed=3, dtype="int4")
# The fixed overhead is at least this part of the reference model's step, whatever was measured.
MIN_OVERHEAD_SHARE = 0.01
# Decode steps of one sample on this machine, and samples of the step for each sample of a kernel.
STEPS_PER_SAMPLE, STEP_SAMPLES = 64, 4
_SESSION_SECS = 600

Shape: TypeAlias = tuple[int, int]
# Returns the seconds of an artifact's decode step on a device, one number for each sample.
StepTimer: TypeAlias = Callable[[Artifact], list[float]]


def write_table(
    model: str | Path,
    target: str,
    out: Path,
    *,
    measurer: Measurer,
    time_step: StepTimer,
    threads: int,
    emulated: bool = False,
    records: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure each dense layer of a model, for every n and dtype, and write the table.

    Parameters
    ----------
    model : str or Path
        A folder that `compile_model` takes; its sizes count, not its patterns.
    target : str
        As `compile_model` takes it; also that of `measurer`.
    out : Path
        Folder that gets ``latency.json`` when everything has been measured.
    measurer : Measurer
        Times single kernels on the device.
    time_step : callable
        Times whole steps on the same device: `local_step_timer` or `rpc_step_timer`.
    threads : int
        Threads of the device's pool, for the table: `measurer` and `time_step` set them.
    emulated : bool
        The device is an emulator.
    records : Path, optional
        Folder of `tvm_c4n.tune`: kernels are then those that `compile_model` takes with it.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

    Raises
    ------
    DeviceError
        A kernel does not run on the device.
    TuneError
        The model has experts.
    """
    tell = progress or (lambda *_: None)
    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    if any(share not in (0, 1) for share in config.shares().values()):
        raise TuneError(
            f"{checkpoint.path}: a latency table has no experts; prune this model to a size, a "
            "sparsity or a perplexity ratio"
        )
    # 1. Each kernel by itself, then the kernels of each layer together.
    kernels = _kernels_of_layers(model, target)
    times = _time_kernels(kernels.values(), measurer, records, 1 if emulated else ROUNDS, tell)
    layers = {layer: _sum(times[spec] for spec in specs) for layer, specs in kernels.items()}
    # 2. What the reference model's step takes beyond its layers.
    tell("a whole step", len(times), len(times) + 1)
    plan, samples = time_reference_model(checkpoint, target, time_step, records)
    shapes = config.tensor_shapes()
    inside = sum(
        layers[(shapes[name][0], shapes[name][1]), choice].median
        for name, choice in plan.items()
        if name != config.embeddings or config.tie_embeddings
    )
    overhead = [max(MIN_OVERHEAD_SHARE * sample, sample - inside) for sample in samples]
    # 3. The file.
    table = LatencyTable(
        format=1,
        target=machine_of(resolve_target(target)).model_dump(),
        emulated=emulated,
        rows=tuple(
            LatencyEntry(
                rows=rows,
                cols=cols,
                removed=choice.removed,
                dtype=choice.dtype,  # type: ignore[arg-type]
                threads=threads,
                seconds=found,
            )
            for ((rows, cols), choice), found in layers.items()
        ),
        rest=(
            Rest.model_validate(
                {**Rest.sizes_of(config), "threads": threads, "seconds": _seconds(overhead)}
            ),
        ),
    )
    make_folder(out)
    write_atomically(out / FILE, table.model_dump_json(indent=1, by_alias=True) + "\n")
    return table


def _kernels_of_layers(model: str | Path, target: str) -> dict[tuple[Shape, Choice], list[OpSpec]]:
    """Return by shape and choice the kernels that a layer consists of."""
    resolved = resolve_target(target)
    lanes = isa_of(resolved).lanes
    calls = operators_of(model, resolved, only="step")
    shapes = {(s.rows, s.cols): s for s in calls if isinstance(s, LinearSpec)}
    found: dict[tuple[Shape, Choice], list[OpSpec]] = {}
    for shape in sorted(shapes):
        for removed in range(GROUP) if shape[1] % GROUP == 0 else (0,):
            for dtype in DTYPES:
                choice = Choice(removed, dtype)
                group = default_scale_group(removed) if dtype.startswith("int") else 0
                spec = replace(
                    shapes[shape], removed=removed, dtype=dtype, scale_group=group, lanes=lanes
                )
                found[shape, choice] = [spec]
                if spec.integer:
                    padded, width = padded_cols(spec), spec.input_width
                    how = QuantizeSpec(spec.dynamic, spec.cols, group, padded, width)
                    found[shape, choice].append(how)
    return found


def _time_kernels(
    layers: Iterable[list[OpSpec]],
    measurer: Measurer,
    records: Path | None,
    rounds: int,
    tell: Progress,
) -> dict[OpSpec, Seconds]:
    """Build all kernels, then time them interleaved."""
    wanted = list(dict.fromkeys(spec for specs in layers for spec in specs))
    select = selector(measurer.target, records)
    total = len(wanted) * (1 + rounds)
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-latency.") as folder:
        built = {}
        for done, spec in enumerate(wanted):
            tell(f"building {spec.kind}", done, total)
            answer = select(spec)
            if answer is None:
                raise TuneError(f"no rule for {spec}: compile for a target with a rule")
            built[spec] = measurer.build(answer[1], Path(folder, f"{done}.so"))
        samples: dict[OpSpec, list[float]] = {spec: [] for spec in wanted}
        for turn in range(rounds):
            for done, (spec, one) in enumerate(built.items()):
                tell(f"measuring {spec.kind}", len(wanted) * (1 + turn) + done, total)
                result = measurer.time_again(one)
                if not result.run_secs:
                    raise DeviceError(
                        f"{spec.kind} did not run on the device: {error_line(result)}"
                    )
                samples[spec] += [float(secs) for secs in result.run_secs]
    return {spec: _seconds(found) for spec, found in samples.items()}


def _seconds(samples: list[float]) -> Seconds:
    return Seconds(min=min(samples), median=median(samples), max=max(samples))


def _sum(parts: Iterable[Seconds]) -> Seconds:
    found = list(parts)
    return Seconds(**{name: sum(getattr(p, name) for p in found) for name in Seconds.model_fields})


def local_step_timer(threads: int, samples: int) -> StepTimer:
    """Return what times an artifact's steps on this machine."""

    def time_step(artifact: Artifact) -> list[float]:
        engine = Engine.load(artifact.path, threads=threads)
        cell = Cell(engine, threads, 0, STEPS_PER_SAMPLE)
        cell.warm_up()
        return [cell.measure() / STEPS_PER_SAMPLE * 1e-9 for _ in range(samples * STEP_SAMPLES)]

    return time_step


def rpc_step_timer(address: RpcAddress, threads: int, wait_secs: float, samples: int) -> StepTimer:
    """Return what times an artifact's steps on a device, by the device's own clock."""

    def time_step(artifact: Artifact) -> list[float]:
        session = open_session(address, wait_secs=wait_secs, session_secs=_SESSION_SECS)
        with session as remote:
            engine = RemoteEngine(artifact, remote, threads=threads)
            return [ns * 1e-9 for ns in engine.time_test(0, 1, samples)]

    return time_step


def time_reference_model(
    checkpoint: Checkpoint, target: str, time_step: StepTimer, records: Path | None
) -> tuple[Mapping[str, Choice], list[float]]:
    """Compile the reference model of a checkpoint's sizes and time its step.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its weights are pruned by magnitude: nobody will read the text.
    target, records
        As for `compile_model`.
    time_step : callable

    Returns
    -------
    tuple
        How each weight of the reference model is stored, and the seconds of each sample.
    """
    plan = REFERENCE_RECIPE.plan(describe_model(checkpoint.config))
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-reference.") as folder:
        model, out = Path(folder, "model"), Path(folder, "artifact")
        _write_reference_model(checkpoint, plan, model)
        compile_model(model, out, target, records=records)
        return plan, time_step(open_artifact(out))


def _write_reference_model(checkpoint: Checkpoint, plan: Mapping[str, Choice], out: Path) -> None:
    with C4nWriter(out) as writer:
        for name in checkpoint.names():
            dense, choice = checkpoint.dense(name), plan.get(name)
            if choice is None:
                writer.add_dense(name, dense)
                continue
            mask = mask_from_scores(np.abs(dense), choice.removed) if choice.removed else None
            group = REFERENCE_RECIPE.group_of(choice.removed)
            weight = from_dense(dense, choice.removed, choice.dtype, mask=mask, scale_group=group)
            writer.add_weight(name, weight)
        writer.copy_extra(checkpoint)
