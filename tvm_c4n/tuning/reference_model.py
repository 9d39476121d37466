"""Whole models of a latency table, the reference model above all: what they take on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.c4n_writer import C4nWriter
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.runtime.artifact import Artifact, open_artifact
from tvm_c4n.runtime.bench import measure
from tvm_c4n.runtime.device.remote import RemoteEngine
from tvm_c4n.runtime.device.rpc import RpcAddress, open_session
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.sparsity import from_dense, mask_from_scores

# The dense layers of the reference model are cheap, so that an error in their rows weighs little in
# the difference.
REFERENCE_RECIPE = Recipe(removed=3, dtype="int4")
# What is timed on this machine, as far as a model's context has room: a prompt and generated
# tokens, as `bench` does. The first steps find nothing in caches, and users wait for them, too.
N_PROMPT, N_GEN = 512, 128
# Samples of a model for each sample of a kernel.
MODEL_SAMPLES = 2
_SESSION_SECS = 600


class TokenSeconds(NamedTuple):
    """Samples of what a token takes: a generated one, and one of a prompt."""

    generated: list[float]
    prompt: list[float]

    def and_more(self, others: TokenSeconds) -> TokenSeconds:
        """Return these samples and others."""
        return TokenSeconds(self.generated + others.generated, self.prompt + others.prompt)


# Times artifacts on a device.
ModelTimer: TypeAlias = Callable[[Sequence[Artifact]], list[TokenSeconds]]


class FixedThreads(Engine):
    """An engine whose steps and chunks take all threads, whatever other programs do."""

    def set_threads(self, threads: int, *, adapt: bool = False) -> None:
        """Use this many threads; the policy would measure something else on a busy machine."""
        super().set_threads(threads, adapt=adapt)


def local_timer(threads: int, samples: int) -> ModelTimer:
    """Return what times artifacts on this machine, in turns: what slows it down meets all."""

    def time_models(artifacts: Sequence[Artifact]) -> list[TokenSeconds]:
        engines = [FixedThreads.load(artifact.path, threads=threads) for artifact in artifacts]
        room = min(engine.config.context or N_PROMPT for engine in engines)
        prompt, generated = min(N_PROMPT, room), min(N_GEN, room)
        cells = measure(
            engines,
            threads=[threads],
            n_prompt=prompt,
            n_gen=generated,
            reps=samples * MODEL_SAMPLES,
        )
        return [
            TokenSeconds(
                [ns * 1e-9 / generated for ns in of_steps.samples_ns],
                [ns * 1e-9 / prompt for ns in of_prompts.samples_ns],
            )
            for of_prompts, of_steps in zip(cells[::2], cells[1::2], strict=True)
        ]

    return time_models


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

    return lambda artifacts: [time_model(artifact) for artifact in artifacts]


def compile_like(
    recipe: Recipe, checkpoint: Checkpoint, target: str, records: Path | None, out: Path
) -> Artifact:
    """Compile a model of a checkpoint's sizes.

    Parameters
    ----------
    recipe : Recipe
        How each weight is stored.
    checkpoint : Checkpoint
        Its weights are pruned by magnitude: nobody will read the text.
    target, records
        As for `compile_model`.
    out : Path
        Folder of the artifact.
    """
    with tempfile.TemporaryDirectory(prefix="tvm-c4n-reference.") as folder:
        _write_model(checkpoint, recipe, Path(folder, "model"))
        compile_model(Path(folder, "model"), out, target, records=records)
        return open_artifact(out)


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
