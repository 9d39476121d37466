"""The latency table: what each dense layer costs on a device (docs/reference/format-latency.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.records import machine_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.model.config import EMBEDDINGS, MambaConfig
from tvm_c4n.ops.c4n_linear import padded_cols
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec, QuantizeSpec
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.allocation.latency import FILE, LatencyEntry, LatencyTable, Rest, Seconds
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.sparsity import GROUP, default_scale_group
from tvm_c4n.tuning.anchor import StepTimer, measure_anchor
from tvm_c4n.tuning.measure import COLD_BYTES
from tvm_c4n.tuning.meter import Meter, last_line
from tvm_c4n.tuning.tasks import operators_of

DTYPES: tuple[Literal["int4", "int8", "float16"], ...] = ("int4", "int8", "float16")
ROUNDS = 3
"""Of all kernels in turns: a device that is disturbed for a second costs no row its median."""
LEAST_REST = 0.01
"""Part of the anchor's step that is outside its dense layers, whatever was measured."""
_PATIENCE_SECS = 600
Shape = tuple[int, int]


def write_table(
    model: str | Path,
    target: str,
    out: Path,
    *,
    runner: Any,
    step: StepTimer,
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
    out : Path
        Folder that gets ``latency.json`` when all is measured.
    runner : tvm.s_tir.meta_schedule.runner.Runner
        For example of `tvm_c4n.tuning.device`.
    step : callable
        Times whole steps on the same device, see `tvm_c4n.tuning.anchor`.
    threads : int
        Of the device's pool, for the table: `runner` and `step` set them.
    emulated : bool
        The device is an emulator.
    records : Path, optional
        Folder of `tvm_c4n.tune`: kernels are then those that `compile_model` takes with it.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

    Raises
    ------
    TuneError
        A kernel does not run on the device.
    """
    tell = progress or (lambda *_: None)
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    layers = _layers(model, target)
    meter = Meter(resolve_target(target), runner, 0 if emulated else COLD_BYTES, _PATIENCE_SECS)
    seconds = _measure(layers.values(), meter, records, 1 if emulated else ROUNDS, tell)
    layer = {key: _sum(seconds[spec] for spec in specs) for key, specs in layers.items()}
    tell("a whole step", len(seconds), len(seconds) + 1)
    plan, samples = measure_anchor(checkpoint, target, step, records)
    shapes = config.tensor_shapes()
    inside = [
        layer[(shapes[name][0], shapes[name][1]), choice].median
        for name, choice in plan.items()
        if name != EMBEDDINGS or config.tie_embeddings
    ]
    rest = [max(LEAST_REST * sample, sample - sum(inside)) for sample in samples]
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
            for ((rows, cols), choice), found in layer.items()
        ),
        rest=(
            Rest.model_validate(
                {**Rest.sizes_of(config), "threads": threads, "seconds": _seconds(rest)}
            ),
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FILE, table.model_dump_json(indent=1, by_alias=True) + "\n")
    return table


def _layers(model: str | Path, target: str) -> dict[tuple[Shape, Choice], list[OpSpec]]:
    """Return by shape and choice the kernels of a layer."""
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


def _measure(
    layers: Iterable[list[OpSpec]],
    meter: Meter,
    records: Path | None,
    rounds: int,
    tell: Progress,
) -> dict[OpSpec, Seconds]:
    """Build all kernels, then measure them in turns."""
    wanted = list(dict.fromkeys(spec for specs in layers for spec in specs))
    select = selector(meter.target, records)
    total = len(wanted) * (1 + rounds)
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-latency.") as folder:
        built = {}
        for done, spec in enumerate(wanted):
            tell(f"building {spec.kind}", done, total)
            answer = select(spec)
            if answer is None:
                raise TuneError(f"no rule for {spec}: compile for a target with a rule")
            built[spec] = meter.build(answer[1], Path(folder, f"{done}.so"))
        samples: dict[OpSpec, list[float]] = {spec: [] for spec in wanted}
        for turn in range(rounds):
            for done, (spec, one) in enumerate(built.items()):
                tell(f"measuring {spec.kind}", len(wanted) * (1 + turn) + done, total)
                result = meter.again(one)
                if not result.run_secs:
                    raise TuneError(f"{spec.kind} did not run on the device: {last_line(result)}")
                samples[spec] += [float(secs) for secs in result.run_secs]
    return {spec: _seconds(found) for spec, found in samples.items()}


def _seconds(samples: list[float]) -> Seconds:
    return Seconds(min=min(samples), median=median(samples), max=max(samples))


def _sum(parts: Iterable[Seconds]) -> Seconds:
    found = list(parts)
    return Seconds(**{name: sum(getattr(p, name) for p in found) for name in Seconds.model_fields})
