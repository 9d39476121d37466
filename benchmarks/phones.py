"""How much faster two emulated phones at one tracker tune than one.

    python -m benchmarks.phones --out benchmarks/results/phones.json

Runs take turns. The emulators, and the building of candidates, share this machine's cores: with
two of them a factor of two is out of reach.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.runtime.describe import cpu_name

EMULATOR = Path(__file__).parents[1] / "tests" / "phone" / "emulator.py"


def phones(
    out: Annotated[Path, typer.Option(help="Gets every sample, as JSON.")],
    model: Annotated[str, typer.Option(help="What is tuned.")] = "mamba-19m-n2-int4",
    trials: int = 24,
    batch: int = 8,
    rounds: Annotated[int, typer.Option("--rounds", "-r", min=1)] = 2,
) -> None:
    """Tune with one phone and with two, in turns; print the speed-up."""
    spec = importlib.util.spec_from_file_location("emulator", EMULATOR)
    assert spec is not None  # noqa: S101 - the file is part of the project
    assert spec.loader is not None  # noqa: S101
    emulator = importlib.util.module_from_spec(spec)
    sys.modules["emulator"] = emulator
    spec.loader.exec_module(emulator)
    samples: dict[int, list[float]] = {1: [], 2: []}
    with emulator.emulated_phone(threads=1, count=2) as lab, ProgressBar("tuning") as bar:
        for turn in range(rounds):
            for count in (1, 2) if turn % 2 == 0 else (2, 1):
                bar(f"{count} phones", sum(map(len, samples.values())), 2 * rounds)
                samples[count].append(_tune(lab, model, trials, batch, count))
    speedup = median(one / two for one, two in zip(samples[1], samples[2], strict=True))
    result = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "model": model,
        "trials": trials,
        "batch": batch,
        "seconds": {str(count): [round(s, 2) for s in found] for count, found in samples.items()},
        "speedup": round(speedup, 3),
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"two phones: {speedup:.2f} times as fast as one, {os.cpu_count()} cores")


def _tune(lab: Any, model: str, trials: int, batch: int, count: int) -> float:
    """Tune from nothing; returns seconds, without those that the first batch starts workers in."""
    from tvm_c4n.runtime.device.rpc import RpcAddress
    from tvm_c4n.tuning.device import kill_workers, rpc_runner
    from tvm_c4n.tuning.run import State, tune

    runner = rpc_runner(
        RpcAddress("127.0.0.1", lab.tracker.port, "phone"),
        1,
        wait_secs=120,
        session_secs=120,
        samples=1,
        phones=count,
    )
    began: list[float] = []

    def progress(state: State) -> None:
        began.append(time.monotonic())
        if state.failed:
            raise RuntimeError(f"a candidate did not run: {state.error}")

    with tempfile.TemporaryDirectory() as folder:
        tune(
            model,
            "arm64-linux",
            runner=runner,
            records=Path(folder, "records"),
            trials=trials + batch,
            batch=batch,
            emulated=True,
            cold_bytes=0,
            confirm=False,
            progress=progress,
        )
    kill_workers(runner)
    return began[-1] - began[0]


if __name__ == "__main__":
    typer.run(phones)
