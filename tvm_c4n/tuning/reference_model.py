"""Whole models of a latency table, the reference model above all: what they take on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.c4n_writer import C4nWriter
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.runtime.artifact import Artifact, open_artifact
from tvm_c4n.runtime.bench import Cell
from tvm_c4n.runtime.device.remote import RemoteEngine
from tvm_c4n.runtime.device.rpc import RpcAddress, open_session
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.sparsity import from_dense, mask_from_scores

# The dense layers of the reference model are cheap, so that an error in their rows weighs little in
# the difference.
REFERENCE_RECIPE = Recipe(removed=3, dtype="int4")
# Decode steps of one sample on this machine, and samples of the model for each sample of a kernel.
STEPS_PER_SAMPLE, MODEL_SAMPLES = 64, 4
_SESSION_SECS = 600


class TokenSeconds(NamedTuple):
    """Samples of what a token takes: a generated one, and one of a prompt."""

    generated: list[float]
    prompt: list[float]


# Times an artifact on a device.
ModelTimer: TypeAlias = Callable[[Artifact], TokenSeconds]


class FixedThreads(Engine):
    """An engine whose steps and chunks take all threads, whatever other programs do."""

    def set_threads(self, threads: int, *, adapt: bool = False) -> None:
        """Use this many threads; the policy would measure something else on a busy machine."""
        super().set_threads(threads, adapt=adapt)


def local_timer(threads: int, samples: int) -> ModelTimer:
    """Return what times artifacts on this machine."""

    def time_model(artifact: Artifact) -> TokenSeconds:
        engine = FixedThreads.load(artifact.path, threads=threads)
        step = Cell(engine, threads, 0, STEPS_PER_SAMPLE)
        prompt = Cell(engine, threads, artifact.manifest.chunk, 0)

        def sampled(cell: Cell) -> list[float]:
            cell.warm_up()
            tokens = cell.n_prompt + cell.n_gen
            return [cell.measure() / tokens * 1e-9 for _ in range(samples * MODEL_SAMPLES)]

        return TokenSeconds(sampled(step), sampled(prompt))

    return time_model


def rpc_timer(address: RpcAddress, threads: int, wait_secs: float, samples: int) -> ModelTimer:
    """Return what times artifacts on a device, by the device's own clock."""

    def time_model(artifact: Artifact) -> TokenSeconds:
        chunk = artifact.manifest.chunk
        session = open_session(address, wait_secs=wait_secs, session_secs=_SESSION_SECS)
        with session as remote:
            engine = RemoteEngine(artifact, remote, threads=threads)
            return TokenSeconds(
                [ns * 1e-9 for ns in engine.time_test(0, 1, samples)],
                [ns * 1e-9 / chunk for ns in engine.time_test(chunk, 0, samples)],
            )

    return time_model


def time_model_of(
    recipe: Recipe,
    checkpoint: Checkpoint,
    target: str,
    time_model: ModelTimer,
    records: Path | None,
) -> TokenSeconds:
    """Compile a model of a checkpoint's sizes and time it.

    Parameters
    ----------
    recipe : Recipe
        How each weight is stored.
    checkpoint : Checkpoint
        Its weights are pruned by magnitude: nobody will read the text.
    target, records
        As for `compile_model`.
    time_model : callable
    """
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-reference.") as folder:
        model, out = Path(folder, "model"), Path(folder, "artifact")
        _write_model(checkpoint, recipe, model)
        compile_model(model, out, target, records=records)
        return time_model(open_artifact(out))


def _write_model(checkpoint: Checkpoint, recipe: Recipe, out: Path) -> None:
    plan = recipe.plan(describe_model(checkpoint.config))
    with C4nWriter(out) as writer:
        for name in checkpoint.names():
            dense, choice = checkpoint.dense(name), plan.get(name)
            if choice is None:
                writer.add_dense(name, dense)
                continue
            mask = mask_from_scores(np.abs(dense), choice.removed) if choice.removed else None
            group = recipe.group_of(choice.removed)
            weight = from_dense(dense, choice.removed, choice.dtype, mask=mask, scale_group=group)
            writer.add_weight(name, weight)
        writer.copy_extra(checkpoint)
