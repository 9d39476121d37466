"""A whole decode step on a device, for what a latency table cannot say kernel by kernel.

Kernels that share a region wait for each other less often than by themselves, and a step has calls,
norms, scans and an embedding besides. All that depends on the model's sizes, hardly on its
patterns: one model of these sizes, the *anchor*, shows it as what its step takes beyond its dense
layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.c4n_writer import C4nWriter
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.model.config import MambaConfig
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.runtime.artifact import Artifact, open_artifact
from tvm_c4n.runtime.bench import Cell
from tvm_c4n.runtime.device.remote import RemoteEngine
from tvm_c4n.runtime.device.rpc import RpcAddress, open_session
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.sparsity import from_dense, mask_from_scores

ANCHOR = Recipe(removed=3, dtype="int4")
"""Its dense layers are cheap, so that an error in their rows weighs little in the difference."""
TOKENS, TIMES = 64, 4
"""Of a sample, and samples for each one of a kernel, on this machine."""
_SESSION_SECS = 600

StepTimer = Callable[[Artifact], list[float]]
"""Returns the seconds of a decode step of an artifact on a device, one for each sample."""


def step_here(threads: int, samples: int) -> StepTimer:
    """Return what times the steps of an artifact on this machine."""

    def timer(artifact: Artifact) -> list[float]:
        cell = Cell(Engine.load(artifact.path, threads=threads), threads, 0, TOKENS)
        cell.warm_up()
        return [cell.measure() / TOKENS * 1e-9 for _ in range(samples * TIMES)]

    return timer


def step_over_rpc(address: RpcAddress, threads: int, wait_secs: float, samples: int) -> StepTimer:
    """Return what times the steps of an artifact on a device, by the device's own clock."""

    def timer(artifact: Artifact) -> list[float]:
        session = open_session(address, wait_secs=wait_secs, session_secs=_SESSION_SECS)
        with session as remote:
            engine = RemoteEngine(artifact, remote, threads=threads)
            return [ns * 1e-9 for ns in engine.time_test(0, 1, samples)]

    return timer


def measure_anchor(
    checkpoint: Checkpoint, target: str, timer: StepTimer, records: Path | None
) -> tuple[Mapping[str, Choice], list[float]]:
    """Compile the anchor of a model's sizes and time its step.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its weights are pruned by magnitude: nobody will read the text.
    target : str
        As `compile_model` takes it.
    timer : callable
    records : Path, optional
        As for `compile_model`.

    Returns
    -------
    tuple
        How each weight of the anchor is stored, and the seconds of each sample.
    """
    plan = ANCHOR.plan(MambaConfig.from_hf(checkpoint.config))
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-anchor.") as folder:
        model, out = Path(folder, "model"), Path(folder, "artifact")
        _write(checkpoint, plan, model)
        compile_model(model, out, target, records=records)
        return plan, timer(open_artifact(out))


def _write(checkpoint: Checkpoint, plan: Mapping[str, Choice], out: Path) -> None:
    with C4nWriter(out) as writer:
        for name in checkpoint.names():
            dense, choice = checkpoint.dense(name), plan.get(name)
            if choice is None:
                writer.add_dense(name, dense)
                continue
            mask = mask_from_scores(np.abs(dense), choice.removed) if choice.removed else None
            group = ANCHOR.group_of(choice.removed)
            weight = from_dense(dense, choice.removed, choice.dtype, mask=mask, scale_group=group)
            writer.add_weight(name, weight)
        writer.add_json("config.json", dict(checkpoint.config))
