"""The latency table: what each dense layer of a model costs on a device.

A table of single kernels leaves something out. Kernels that share a region wait for each other less
often than by themselves, and a step has calls, norms, scans and an embedding besides. This fixed
overhead depends on a model's sizes, hardly on its patterns, so one *reference model* of the same
sizes shows it: it is what that model's step takes beyond its dense layers. Another whole model is
measured to be compared with what the table says of it.

docs/reference/format-latency.md specifies the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import TypeVar

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.files import make_folder, write_atomically
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.records import machine_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.latency import (
    FILE,
    TOKEN,
    Check,
    LatencyTable,
    Rest,
    Seconds,
    Workload,
)
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.runtime.contention import CpuContention, secs_with_workers
from tvm_c4n.tuning.dense_layers import layers_of
from tvm_c4n.tuning.measurer import Measurer, error_line
from tvm_c4n.tuning.reference_model import (
    REFERENCE_RECIPE,
    ModelTimer,
    TokenSeconds,
    time_model_of,
)

# All kernels of a shape are timed once per round: a device that is disturbed for a second costs no
# row its median.
ROUNDS = 3
# The fixed overhead is at least this part of what the reference model takes.
MIN_OVERHEAD_SHARE = 0.01
# What has been measured of a table that is not finished.
PARTIAL = "latency.partial.json"

PROMPT_TOKEN = Workload(prompt=1, generated=0)
# The model that the table is compared with: it reads and multiplies twice as much as the reference.
CHECKED_RECIPE = Recipe(removed=0, dtype="int4")
T = TypeVar("T")


def write_table(
    model: str | Path,
    target: str,
    out: Path,
    *,
    measurer: Measurer,
    time_model: ModelTimer,
    threads: int,
    emulated: bool = False,
    local: bool = False,
    records: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure each dense layer of a model, for every n and dtype, and write the table.

    What was measured before a stop is kept by shape, and not measured again.

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
    time_model : callable
        Times whole models on the same device: `local_timer` or `rpc_timer`.
    threads : int
        Threads of the device's pool, for the table: `measurer` and `time_model` set them.
    emulated : bool
        The device is an emulator.
    local : bool
        The device is this machine: the table says what other programs took of it.
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
    RecipeError
        What was kept of a stopped run is no table.
    """
    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    if any(share not in (0, 1) for share in config.shares().values()):
        raise TuneError(
            f"{checkpoint.path}: a latency table has no experts; prune this model to a size, a "
            "sparsity or a perplexity ratio"
        )
    resolved, partial = resolve_target(target), out / PARTIAL
    table = LatencyTable(
        format=3, target=machine_of(resolved).model_dump(), emulated=emulated, rows=(), rest=()
    )
    # 1. The kernels of each shape.
    table = _resumed(partial, table, threads)
    measured = {(entry.rows, entry.cols) for entry in table.entries}
    missing = [layers for layers in layers_of(model, resolved) if layers.shape not in measured]
    rounds, watch = 1 if emulated else ROUNDS, _Watch(local, table)
    wholes = 1 if emulated else 2
    step = StepCounter(sum(len(each.kernels) * (1 + rounds) for each in missing) + wholes, progress)
    for layers in missing:
        times = _time_kernels(layers.kernels, measurer, records, rounds, step, watch)
        table = table.model_copy(
            update={
                "entries": (*table.entries, *layers.entries(times, threads)),
                "others_cores": watch.cores,
            }
        )
        make_folder(out)
        _write(table, partial)

    def time_whole(recipe: Recipe) -> TokenSeconds:
        step("measuring a whole model")
        return time_model_of(
            recipe, checkpoint, target, lambda built: watch(lambda: time_model(built)), records
        )

    # 2. What the reference model takes beyond its layers.
    plan = REFERENCE_RECIPE.plan(config)
    rest = _rest(config, table, plan, time_whole(REFERENCE_RECIPE), threads)
    table = table.model_copy(update={"rest": (rest,)})
    # 3. What another one takes, and what the table says of it. An emulator's speed is nobody's.
    if not emulated:
        check = _check(config, table, CHECKED_RECIPE, time_whole(CHECKED_RECIPE), threads)
        table = table.model_copy(update={"checks": (check,)})
    # 4. The file.
    table = table.model_copy(update={"others_cores": watch.cores})
    _write(table, out / FILE)
    partial.unlink(missing_ok=True)
    return table


class _Watch:
    """Calls what measures, and notes the cores that other programs take meanwhile, at most."""

    def __init__(self, local: bool, before: LatencyTable) -> None:
        self.cores = before.others_cores if not local else before.others_cores or 0.0
        self._local = local

    def __call__(self, measure: Callable[[], T]) -> T:
        with CpuContention(secs_with_workers) as others:
            result = measure()
        if self._local:
            self.cores = max(self.cores or 0.0, others.cores)
        return result


def _resumed(partial: Path, empty: LatencyTable, threads: int) -> LatencyTable:
    """Return what a stopped run has measured of such a table, or the empty one."""
    if not partial.is_file():
        return empty
    kept = LatencyTable.read(partial)
    same = kept.model_copy(update={"entries": (), "others_cores": None}) == empty
    return kept if same and all(entry.threads == threads for entry in kept.entries) else empty


def _write(table: LatencyTable, file: Path) -> None:
    text = table.model_dump_json(indent=1, by_alias=True, exclude_none=True)
    write_atomically(file, text + "\n")


def _time_kernels(
    wanted: list[OpSpec],
    measurer: Measurer,
    records: Path | None,
    rounds: int,
    step: StepCounter,
    watch: _Watch,
) -> dict[OpSpec, Seconds]:
    """Build kernels, then time them interleaved."""
    select = selector(measurer.target, records)
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-latency.") as folder:
        built = {}
        for index, spec in enumerate(wanted):
            step(f"building {spec.kind}")
            answer = select(spec)
            if answer is None:
                raise TuneError(f"no rule for {spec}: compile for a target with a rule")
            built[spec] = measurer.build(answer[1], Path(folder, f"{index}.so"))
        samples: dict[OpSpec, list[float]] = {spec: [] for spec in wanted}

        def time_round() -> None:
            for spec, one in built.items():
                step(f"measuring {spec.kind}")
                result = measurer.time_again(one)
                if not result.run_secs:
                    raise DeviceError(
                        f"{spec.kind} did not run on the device: {error_line(result)}"
                    )
                samples[spec] += [float(secs) for secs in result.run_secs]

        for _ in range(rounds):
            watch(time_round)
    return {spec: _seconds(found) for spec, found in samples.items()}


def _rest(
    config: ModelConfig,
    table: LatencyTable,
    plan: Mapping[str, Choice],
    samples: TokenSeconds,
    threads: int,
) -> Rest:
    """Return what the reference model takes beyond its layers."""
    step, chunk = table.inside(config, plan), table.inside(config, plan, PROMPT_TOKEN)
    return Rest.model_validate(
        {
            **Rest.sizes_of(config),
            "threads": threads,
            "seconds": _beyond(samples.generated, step),
            "prompt_seconds": _beyond(samples.prompt, chunk),
        }
    )


def _check(
    config: ModelConfig, table: LatencyTable, recipe: Recipe, samples: TokenSeconds, threads: int
) -> Check:
    """Return what a whole model takes, beside what the table says of it."""
    plan = recipe.plan(config)
    return Check(
        removed=recipe.removed,
        dtype=recipe.dtype,
        threads=threads,
        seconds=_seconds(samples.generated),
        predicted=table.whole(config, plan, TOKEN),
        prompt_seconds=_seconds(samples.prompt),
        prompt_predicted=table.whole(config, plan, PROMPT_TOKEN),
    )


def _beyond(samples: list[float], inside: float) -> Seconds:
    return _seconds([max(MIN_OVERHEAD_SHARE * sample, sample - inside) for sample in samples])


def _seconds(samples: list[float]) -> Seconds:
    return Seconds(min=min(samples), median=median(samples), max=max(samples))
