"""The latency table: what each dense layer of a model costs on a device.

A table of single kernels leaves something out. Kernels that share a region wait for each other less
often than by themselves, and a step has calls, norms, scans and an embedding besides. This fixed
overhead depends on a model's sizes, hardly on its patterns, so *reference models* of the same sizes
show it: it is what their steps take beyond their dense layers. How far they are from the mean of
both is what the table says of the second one then, and so of other models.

docs/reference/format-latency.md specifies the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.files import make_folder, write_atomically
from tvm_c4n.compile.records import machine_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.latency import (
    FILE,
    TOKEN,
    Check,
    LatencyTable,
    Rest,
    Workload,
)
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.pruning.steps import StepCounter
from tvm_c4n.tuning.cached_weights import bytes_of_kernels, stay_cached
from tvm_c4n.tuning.dense_layers import layers_of
from tvm_c4n.tuning.kernel_times import KernelTimer, Watch, seconds_of
from tvm_c4n.tuning.measurer import Measurer
from tvm_c4n.tuning.reference_model import (
    REFERENCE_RECIPE,
    ModelTimer,
    TokenSeconds,
    compile_like,
)

# All kernels of a shape are timed once per round: a device that is disturbed for a second costs no
# row its median.
ROUNDS = 3
# The fixed overhead is at least this part of what the reference model takes.
MIN_OVERHEAD_SHARE = 0.01
# What has been measured of a table that is not finished.
PARTIAL = "latency.partial.json"

PROMPT_TOKEN = Workload(prompt=1, generated=0)
# The model that the table is compared with: it multiplies four times as much as the reference.
CHECKED_RECIPE = Recipe(removed=0, dtype="int4")


def write_table(
    model: str | Path,
    target: str,
    out: Path,
    *,
    measurer: Measurer,
    time_models: ModelTimer,
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
    time_models : callable
        Times whole models on the same device: `local_timer` or `rpc_timer`.
    threads : int
        Threads of the device's pool, for the table: `measurer` and `time_models` set them.
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
    table = _resumed(partial, table, threads)
    layers = layers_of(model, resolved)
    measured = {(entry.rows, entry.cols) for entry in table.entries}
    missing = [each for each in layers if each.shape not in measured]
    # An emulator's speed is nobody's: what is only there to be compared is left out.
    recipes = [REFERENCE_RECIPE] if emulated else [REFERENCE_RECIPE, CHECKED_RECIPE]
    rounds = 1 if emulated else ROUNDS
    step = StepCounter(
        sum(len(each.kernels) * (1 + rounds) for each in missing) + len(recipes), progress
    )
    watch = Watch(local, table.others_cores)
    plans = [recipe.plan(config) for recipe in recipes]
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-latency.") as folder:
        # 1. Whole models.
        artifacts = []
        for index, recipe in enumerate(recipes):
            step("building a whole model")
            built = Path(folder, str(index))
            artifacts.append(compile_like(recipe, checkpoint, target, records, built))
        whole = watch(lambda: time_models(artifacts))
        # 2. Where their weights come from.
        timer = KernelTimer(measurer, records, rounds, step, watch)
        if not emulated and not table.entries:
            quiet = replace(timer, step=StepCounter(0))
            reference, checked = (median(samples.generated) for samples in whole)
            cached = stay_cached(config, layers, (plans[0], plans[1]), checked - reference, quiet)
            table = table.model_copy(update={"cached": cached})
        # 3. The kernels of each shape.
        cycled = bytes_of_kernels(config, layers, table.cached)
        for each in missing:
            times = timer.times({spec: cycled[spec] for spec in each.kernels})
            entries = (*table.entries, *each.entries(times, threads))
            table = table.model_copy(update={"entries": entries, "others_cores": watch.cores})
            make_folder(out)
            _write(table, partial)
        # 4. The models once more: a host may have moved this machine to other cores meanwhile.
        if not emulated:
            again = watch(lambda: time_models(artifacts))
            whole = [one.and_more(more) for one, more in zip(whole, again, strict=True)]
    # 5. What the models take beyond their layers, and what the table says of the second then.
    table = table.model_copy(update={"rest": (_rest(config, table, plans, whole, threads),)})
    if not emulated:
        check = _check(config, table, plans[1], whole[1], threads)
        table = table.model_copy(update={"checks": (check,), "others_cores": watch.cores})
    _write(table, out / FILE)
    partial.unlink(missing_ok=True)
    return table


def _resumed(partial: Path, empty: LatencyTable, threads: int) -> LatencyTable:
    """Return what a stopped run has measured of such a table, or the empty one."""
    if not partial.is_file():
        return empty
    kept = LatencyTable.read(partial)
    same = kept.model_copy(update={"entries": (), "cached": False, "others_cores": None}) == empty
    return kept if same and all(entry.threads == threads for entry in kept.entries) else empty


def _write(table: LatencyTable, file: Path) -> None:
    text = table.model_dump_json(indent=1, by_alias=True, exclude_none=True)
    write_atomically(file, text + "\n")


def _rest(
    config: ModelConfig,
    table: LatencyTable,
    plans: Sequence[Mapping[str, Choice]],
    whole: Sequence[TokenSeconds],
    threads: int,
) -> Rest:
    """Return what the whole models take beyond their layers, their mean.

    It is not quite the same for all, so that a model between them is met best by the mean.
    """
    steps = [
        _beyond(samples.generated, table.inside(config, plan))
        for plan, samples in zip(plans, whole, strict=True)
    ]
    chunks = [
        _beyond(samples.prompt, table.inside(config, plan, PROMPT_TOKEN))
        for plan, samples in zip(plans, whole, strict=True)
    ]
    return Rest.model_validate(
        {
            **Rest.sizes_of(config),
            "threads": threads,
            "seconds": seconds_of([fmean(found) for found in zip(*steps, strict=True)]),
            "prompt_seconds": seconds_of([fmean(found) for found in zip(*chunks, strict=True)]),
        }
    )


def _check(
    config: ModelConfig,
    table: LatencyTable,
    plan: Mapping[str, Choice],
    samples: TokenSeconds,
    threads: int,
) -> Check:
    """Return what the other model takes, beside what the table says of it."""
    return Check(
        removed=0,
        dtype=CHECKED_RECIPE.dtype,
        threads=threads,
        seconds=seconds_of(samples.generated),
        predicted=table.whole(config, plan, TOKEN),
        prompt_seconds=seconds_of(samples.prompt),
        prompt_predicted=table.whole(config, plan, PROMPT_TOKEN),
    )


def _beyond(samples: list[float], inside: float) -> list[float]:
    return [max(MIN_OVERHEAD_SHARE * sample, sample - inside) for sample in samples]
