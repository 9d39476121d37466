"""`tvm-c4n tune` and `tvm-c4n records`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.conflicts import refuse_without
from tvm_c4n.cli.console import ProgressBar, on_interrupt, print_table, say
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.compile.records import Best
    from tvm_c4n.tuning.reference_model import ModelTimer


def tune(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="C4n or Hugging Face folder, mamba-19m, or org/name of the hub.",
            autocompletion=bundled,
        ),
    ],
    records: Annotated[Path, typer.Option(help="Folder of records; resumes from what it has.")],
    target: Annotated[str, typer.Option(help="host, arm64-android or arm64-linux.")] = "host",
    local: Annotated[bool, typer.Option("--local", help="Measure on this machine.")] = False,
    tracker: Annotated[
        str, typer.Option(help="HOST:PORT of a TVM tracker that lends devices out.")
    ] = "",
    key: Annotated[str, typer.Option(help="Name of the devices at the tracker.")] = "phone",
    trials: Annotated[int, typer.Option(help="Candidates to measure in this run.")] = 512,
    threads: Annotated[
        int, typer.Option("--threads", "-t", help="Threads of the device's pool.")
    ] = 1,
    batch: Annotated[int, typer.Option(help="Candidates measured together.")] = 8,
    devices: Annotated[int, typer.Option("--devices", help="Devices that share a batch.")] = 1,
    phones: Annotated[int, typer.Option("--phones", hidden=True)] = 1,  # the former spelling
    timeout: Annotated[float, typer.Option(help="Seconds for a candidate.")] = 60,
    samples: Annotated[int, typer.Option(help="Samples of each candidate.")] = 5,
    confirm: Annotated[
        bool,
        typer.Option(help="At the end, compare what is to replace a default with it, in pairs."),
    ] = True,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="Mark the records as an emulator's.")
    ] = False,
    latency_table: Annotated[
        bool,
        typer.Option("--latency-table", help="Measure RECORDS/latency.json for `prune` instead."),
    ] = False,
) -> None:
    """Tune a model's kernels on a device; Ctrl-C loses at most the batch in flight."""
    if local == bool(tracker):
        raise C4nError("say where to measure: either --local, or --tracker HOST:PORT --key KEY")
    if local and target != "host":
        raise C4nError(f"--local measures on this machine, not on {target}: use --tracker")
    refuse_without(context, ["key", "devices"], "--tracker", bool(tracker))
    search = ["trials", "batch", "confirm"]
    refuse_without(context, search, "a run without --latency-table", not latency_table)
    devices = max(devices, phones, 1)
    left = f"stopped; the same command resumes from {records}"
    with on_interrupt(lambda: left), ProgressBar("tuning") as bar:
        bar("loading MetaSchedule", 0, trials)
        from tvm_c4n.checkpoint import open_checkpoint
        from tvm_c4n.compile.records import machine_of
        from tvm_c4n.compile.target import resolve_target
        from tvm_c4n.runtime.contention import check_threads, cores_available
        from tvm_c4n.tuning.harness import COLD_BYTES
        from tvm_c4n.tuning.runners import kill_workers

        # What is wrong with these is said before a device is asked for.
        machine_of(resolve_target(target))
        model = str(open_checkpoint(model, bar).path)
        if local:
            check_threads(threads)
        device = _Device(f"rpc://{tracker}/{key}" if tracker else "", threads, timeout, samples)
        runner = device.runner(devices)
        if local and not cores_available(threads):
            bar.notify("other programs need the cores: kernels will be slower than alone")
        options: dict[str, Any] = {
            "threads": threads,
            "emulated": emulated,
            # An emulator's caches are nobody's.
            "cold_bytes": 0 if emulated else COLD_BYTES,
            # A candidate may use up two time-outs: waiting for the device, and measuring.
            "batch_secs": 60 + 2 * timeout * batch / devices,
            "progress": bar,
        }
        try:
            if latency_table:
                _write_latency_table(model, target, records, runner, device, **options)
                return
            from tvm_c4n.tuning.run import tune as tune_model

            best = tune_model(
                model,
                target,
                runner=runner,
                records=records,
                trials=trials,
                batch=batch,
                confirm=confirm,
                **options,
            )
        finally:
            kill_workers(runner)
    _show(best, f"{records}: the best of each kernel")


@dataclass(frozen=True)
class _Device:
    """Where to measure: on the devices of a tracker's address, or here where it is empty."""

    address: str
    threads: int
    timeout: float
    samples: int

    def runner(self, devices: int) -> Any:
        """Return what runs single kernels, on several devices at once."""
        from tvm_c4n.runtime.device.rpc import check_devices, parse_address
        from tvm_c4n.tuning.runners import local_runner, rpc_runner

        if not self.address:
            return local_runner(self.threads, timeout_secs=self.timeout, samples=self.samples)
        address = parse_address(self.address)
        check_devices(address)
        return rpc_runner(
            address,
            self.threads,
            wait_secs=self.timeout,
            session_secs=self.timeout,
            samples=self.samples,
            devices=devices,
        )

    def model_timer(self) -> ModelTimer:
        """Return what times whole models."""
        from tvm_c4n.runtime.device.rpc import parse_address
        from tvm_c4n.tuning.reference_model import local_timer, rpc_timer

        if not self.address:
            return local_timer(self.threads, self.samples)
        address = parse_address(self.address)
        return rpc_timer(address, self.threads, self.timeout, self.samples)


def _write_latency_table(
    model: str,
    target: str,
    folder: Path,
    runner: Any,
    device: _Device,
    *,
    cold_bytes: int,
    batch_secs: float,
    **options: Any,
) -> None:
    """Measure the table of a model's sizes, with the kernels that the folder's records give."""
    from tvm_c4n.compile.records import MANIFEST
    from tvm_c4n.compile.target import resolve_target
    from tvm_c4n.pruning.allocation.table_doubts import doubts
    from tvm_c4n.tuning.latency import write_table
    from tvm_c4n.tuning.measurer import Measurer

    written = write_table(
        model,
        target,
        folder,
        measurer=Measurer(resolve_target(target), runner, cold_bytes, batch_secs),
        time_models=device.model_timer(),
        local=not device.address,
        records=folder if (folder / MANIFEST).is_file() else None,
        **options,
    )
    cpu = written.target["cpu"]
    typer.echo(f"{folder / 'latency.json'}: {len(written.entries)} entries for {cpu}")
    if found := doubts(written):
        say(found)


def records_(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `tvm-c4n tune`.")],
    merge_into: Annotated[
        Path | None, typer.Option(help="Add the records of the folders to this one.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write manifest, best decisions and their comparisons to this folder."),
    ] = None,
) -> None:
    """List folders of records, merge them, or export the best decisions."""
    from tvm_c4n.compile import records as store

    opened = [store.open_records(folder) for folder in folders]
    if merge_into is not None:
        from tvm_c4n.tuning.database import merge_folders

        added = merge_folders(merge_into, folders)
        typer.echo(f"{merge_into}: {added} records added")
        opened = [store.open_records(merge_into)]
    if export is not None:
        if len(opened) != 1:
            raise C4nError("--export takes one folder of records; merge several first")
        store.export(opened[0], export)
        typer.echo(f"{export}: {len(opened[0].best)} kernels")
        return
    for found in opened:
        machine, manifest = found.manifest.target, found.manifest
        cpu = f"{machine.cpu}, {machine.model}" if machine.model else machine.cpu
        where = f"{machine.triple}, {cpu}\n{machine.isa}, TVM {machine.tvm}"
        emulated = ", emulated" if manifest.emulated else ""
        threads = f"{manifest.threads} thread{'s' * (manifest.threads > 1)}"
        _show(found.best, f"{found.path}\n{where}\n{threads}{emulated}")


def _show(best: list[Best], title: str) -> None:
    from tvm_c4n.compile.records import title_of

    rows = []
    for found in best:
        micros = [f"{secs * 1e6:.1f}" for secs in (found.seconds, found.default_seconds)]
        gain = f"{(found.default_seconds / found.seconds - 1) * 100:.0f} %"
        rows.append([title_of(found.spec), *micros, gain])
        decisions = ", ".join(f"{name}={value}" for name, value in found.decisions.items())
        rows.append([f"  {decisions}", "", "", ""])  # a line of its own: 80 columns hold no more
    print_table(title, ["kernel, decisions", "best us", "default us", "gain"], rows)
