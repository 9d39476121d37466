"""The latency table: what each dense layer of a model costs on a device (docs/format.md)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import schedules
from tvm_c4n._tvm import Target
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.build import tuned_for
from tvm_c4n.compile.records import machine_of
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.model.config import MambaConfig
from tvm_c4n.ops.c4n_linear import padded_cols
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec, QuantizeSpec
from tvm_c4n.prune.latency import FILE, LatencyTable, Rest, Row, Seconds
from tvm_c4n.tuning.device import kill_workers
from tvm_c4n.tuning.measure import args_info, compile_measured, measured
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.tasks import operators_of

DTYPES: tuple[Literal["int4", "int8", "float16"], ...] = ("int4", "int8", "float16")
SCALE_GROUP = 64
COLD_BYTES = 2**26
Progress = Callable[[str, int, int], None]


def write_table(
    model: str | Path,
    target: str | Target,
    out: Path,
    *,
    runner: Any,
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
    target : str or tvm.target.Target
    out : Path
        Folder that gets ``latency.json`` when all is measured.
    runner : tvm.s_tir.meta_schedule.runner.Runner
        For example of `tvm_c4n.tuning.device`.
    threads : int
        Of the device's pool, for the table: the runner sets them.
    emulated : bool
        The device is an emulator.
    records : Path, optional
        Folder of `tvm_c4n.tune`: kernels are then those that `compile_model` takes with it.
    progress : callable, optional
        Called as ``progress(kernel, done, total)``.

    Raises
    ------
    TuneError
        A kernel does not run on the device.
    """
    resolved = resolve_target(target)
    config = MambaConfig.from_hf(open_checkpoint(model).config)
    calls = operators_of(model, resolved, only="step")
    linears = {(s.rows, s.cols): s for s in calls if isinstance(s, LinearSpec)}
    others = [s for s in calls if not isinstance(s, LinearSpec | QuantizeSpec)]
    wanted = [(shape, n, dtype) for shape in sorted(linears) for n in range(4) for dtype in DTYPES]
    meter = _Meter(resolved, runner, records, 0 if emulated else COLD_BYTES)
    total = len(wanted) + len(others)

    def tell(what: str, done: int) -> None:
        if progress is not None:
            progress(what, done, total)

    rows = []
    for done, ((count, cols), removed, dtype) in enumerate(wanted):
        if removed and cols % 4:
            continue
        tell(f"{count}x{cols} n={removed} {dtype}", done)
        seconds = meter.layer(linears[count, cols], removed, dtype)
        rows.append(
            Row(
                rows=count,
                cols=cols,
                removed=removed,
                dtype=dtype,
                threads=threads,
                seconds=seconds,
            )
        )
    rest: Seconds | None = None
    for done, spec in enumerate(others, len(wanted)):
        tell(spec.kind, done)
        found = meter.kernel(spec)
        if found is not None:
            times = calls[spec]
            rest = _sum(rest, found, times)
    sizes = {name: getattr(config, name) for name in Rest.model_fields if hasattr(config, name)}
    table = LatencyTable(
        format=1,
        target=machine_of(resolved).model_dump(),
        emulated=emulated,
        rows=tuple(rows),
        rest=(Rest(**sizes, threads=threads, seconds=rest),) if rest else (),
    )
    out.mkdir(parents=True, exist_ok=True)
    part = out / f"{FILE}.part"
    part.write_text(table.model_dump_json(indent=1) + "\n", encoding="utf-8")
    part.replace(out / FILE)
    return table


def _sum(first: Seconds | None, second: Seconds, times: int = 1) -> Seconds:
    """Return `first`, if there is one, plus `times` times `second`."""
    names = ("min", "median", "max")
    sums = {n: (getattr(first, n) if first else 0) + times * getattr(second, n) for n in names}
    return Seconds(**sums)


class _Meter:
    """Measures kernels on a device."""

    def __init__(self, target: Target, runner: Any, records: Path | None, cold_bytes: int) -> None:
        self.target, self.runner, self.cold_bytes = target, runner, cold_bytes
        isa = isa_of(target)
        self.lanes = isa.lanes
        self.choose = partial(schedules.choose, isa=isa, tuned=tuned_for(target, records))

    def layer(self, like: LinearSpec, removed: int, dtype: str) -> Seconds:
        """Measure a dense layer of a shape, with the quantisation of its input if it needs one."""
        group = SCALE_GROUP if dtype.startswith("int") else 0
        spec = replace(like, removed=removed, dtype=dtype, scale_group=group, lanes=self.lanes)
        seconds = self.kernel(spec)
        if spec.integer and seconds is not None:
            padded = padded_cols(spec)
            how = QuantizeSpec(spec.dynamic, spec.cols, group, padded, spec.input_width)
            quantize = self.kernel(how)
            seconds = _sum(seconds, quantize) if quantize is not None else seconds
        if seconds is None:
            raise TuneError(f"no rule for {spec}: compile for a target with a rule")
        return seconds

    def kernel(self, spec: OpSpec) -> Seconds | None:
        """Measure an operator's kernel; None where no rule writes one."""
        answer = self.choose(spec)
        if answer is None:
            return None
        mod, arguments, copies = measured(answer[1], self.cold_bytes)
        with tempfile.TemporaryDirectory(prefix="tvm-c4n-latency.") as folder:
            library = Path(folder, "kernel.so")
            compile_measured(mod, self.target, library)
            wanted = ms.runner.RunnerInput(str(library), "cpu", args_info(arguments))
            (future,) = self.runner.run([wanted])
            end = time.monotonic() + 600
            while not future.done() and time.monotonic() < end:
                time.sleep(0.01)
            if not future.done():
                kill_workers(self.runner)
                raise TuneError(f"{spec.kind}: the device does not answer; run again")
            result = future.result()
        if not result.run_secs:
            reason = str(result.error_msg).strip().split("\n")[-1]
            raise TuneError(f"{spec.kind} did not run on the device: {reason}")
        seconds = sorted(float(s) / copies for s in result.run_secs)
        return Seconds(min=seconds[0], median=median(seconds), max=seconds[-1])
