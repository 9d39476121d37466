"""What each weight of a model loses by each choice: measured, one layer in memory at a time.

Of each projection two things are measured. How its output's error grows with n and with fewer bits:
each pair of both by the whole method, on some rows and the dense model's statistics. And what such
an error costs the model: each projection is pruned by itself (`PROBE`), and the divergence of the
model's predictions from the dense model's (Kullback-Leibler, nats per token) is measured on text
that nothing was fitted to (`texts.py`). To second order the divergence is proportional to the
energy of the error, so that

    loss(choice) = share * divergence(probe) * error(choice) / error(probe).

The streams with one pruned projection each go through the layers side by side, so that no layer is
read twice. The embeddings and the head are rounded together, and their divergence taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.allocation.experts import ExpertLosses, losses_of_experts
from tvm_c4n.pruning.allocation.texts import split_windows
from tvm_c4n.pruning.calibration.experts import (
    PRIOR_SHARE,
    ExpertErrors,
    expert_grams,
    prune_experts,
    tokens_of_experts,
)
from tvm_c4n.pruning.calibration.head import HeadRounder
from tvm_c4n.pruning.calibration.layer import Head, Layer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.devices import CPU
from tvm_c4n.pruning.method.matrix import PrunedMatrix, prune_matrix
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.sparsity import FIELD_BITS, GROUP, DType, kept_share

# It loses little, as what is chosen does: large losses do more than add up.
PROBE = Choice(1, "float16")
# Share of what a projection loses by itself that a model loses by it, whose later projections are
# fitted to make up for those before them. Nothing makes up for the embeddings and the head.
LASTING_SHARE = 2 / 3
# Rows of a projection that errors are measured on, and of an expert at least. Rows are pruned one
# by one, and what counts is the quotient of two errors of the same rows.
ROWS, EXPERT_ROWS = 128, 32


@dataclass(frozen=True)
class Sensitivity:
    """What one weight loses.

    Attributes
    ----------
    losses : dict of (n, dtype) to float
        Loss in nats per token, all experts alike.
    experts : tuple of tuple of float
        What each expert loses by removal alone, n = 0, 1, 2, 3; none of other projections.
    """

    losses: dict[tuple[int, DType], float]
    experts: tuple[ExpertLosses, ...] = ()

    def loss(self, choice: Choice) -> float:
        """Return the loss of a choice in nats per token."""
        loss = self.losses[choice.removed, choice.dtype]
        if choice.each:
            pairs = zip(self.experts, choice.each, strict=True)
            loss += sum(own[n] - own[choice.removed] for own, n in pairs)
        return loss

    def as_json(self) -> list[Any]:
        """Return what `from_json` reads."""
        return [[[*pair, loss] for pair, loss in self.losses.items()], self.experts]

    @classmethod
    def from_json(cls, found: Sequence[Any]) -> Sensitivity:
        """Undo `as_json`."""
        losses, experts = found
        return cls({(n, dtype): loss for n, dtype, loss in losses}, tuple(map(tuple, experts)))


@dataclass(frozen=True)
class _Trial:
    """The model with one projection changed, and the errors of all ways to change it."""

    stream: Stream
    errors: dict[Choice, float]
    probe_error: float
    experts: tuple[ExpertLosses, ...]

    def sensitivity(self, divergence: float) -> Sensitivity:
        error = self.probe_error
        scale = LASTING_SHARE * divergence / error if error > 0 else 0.0
        losses = {(c.removed, c.dtype): scale * e for c, e in self.errors.items()}
        if not self.experts:
            return Sensitivity(losses)
        experts = tuple(tuple(scale * e for e in own) for own in self.experts)
        # What is known of each expert says more about removal than the errors of all together.
        removal = {n: sum(own[n] for own in experts) for n, _ in losses}
        alone = {n: losses[n, "float16"] for n in removal}
        losses = {(n, d): removal[n] + loss - alone[n] for (n, d), loss in losses.items()}
        return Sensitivity(losses, experts)


def measure(
    checkpoint: Checkpoint,
    config: ModelConfig,
    recipe: Recipe,
    choices: Mapping[str, Collection[Choice]],
    windows: Tensor,
    note: Callable[[str], None],
    device: torch.device = CPU,
) -> dict[str, Sensitivity]:
    """Measure the sensitivity of every projection and of the embeddings.

    Parameters
    ----------
    checkpoint, config
        The dense model.
    recipe : Recipe
        For ``dampening_frac``, ``scale_group``, ``without`` and ``seed``, which draws rows.
    choices : mapping of tensor name to collection of Choice
        What each weight may become, all experts alike.
    windows : (b, t) int64
        Calibration windows; see `split_windows`.
    note : callable
        Told of each layer when it is done.
    device : torch.device

    Returns
    -------
    dict of tensor name to Sensitivity
        The embeddings (with the head) and the projections, in the model's order.
    """
    rounder = HeadRounder(checkpoint, config, recipe, windows, device)
    fitted, windows = split_windows(windows)
    embeddings = torch.from_numpy(checkpoint.dense(config.embeddings))
    scale = config.embedding_scale
    known = [Stream((scale * embeddings[batch]).to(device)) for batch in batches(fitted)]
    dense = Stream((scale * embeddings[windows]).to(device), forks=True)
    loaded = Head.load(checkpoint, config)
    heads, rounded = dict[DType, Head](), dict[DType, Stream]()
    for dtype in [c.dtype for c in choices[config.embeddings] if c.dtype != "float16"]:
        ends = {n: torch.from_numpy(w.dense()) for n, w in rounder.rounded(dtype).items()}
        rounded[dtype] = Stream((scale * ends[config.embeddings][windows]).to(device))
        between = config.head_map and ends[config.head_map]
        heads[dtype] = replace(loaded, weight=ends[config.head], map=between).to(device)
    trials: dict[str, _Trial] = {}
    for index in range(config.n_layer):
        layer = Layer.load(checkpoint, config, index, device)
        for stream in (*rounded.values(), *(trial.stream for trial in trials.values())):
            stream.enter(layer)
            for _ in layer.projections:
                stream.pass_through(layer)
        for stream in (dense, *known):
            stream.enter(layer)
        for name, projection in config.projections(index).items():
            wanted = choices[projection.weight]
            trials[projection.weight] = _try(layer, name, known, dense, recipe, wanted)
            for stream in (dense, *known):
                stream.pass_through(layer)
        note(f"layer {index} sensitivity")

    head = loaded.to(device)
    streams = [(rounded[dtype], heads[dtype]) for dtype in rounded]
    streams += [(trial.stream, head) for trial in trials.values()]
    divergences = _divergences(dense, head, streams)
    of_head: dict[tuple[int, DType], float] = {(0, "float16"): 0.0}
    of_head |= {(0, dtype): loss for dtype, loss in zip(rounded, divergences, strict=False)}
    found = {config.embeddings: Sensitivity(of_head)}
    for (name, trial), divergence in zip(trials.items(), divergences[len(rounded) :], strict=True):
        found[name] = trial.sensitivity(divergence)
    return found


def _divergences(dense: Stream, head: Head, streams: Sequence[tuple[Stream, Head]]) -> list[float]:
    """Return how far the predictions of streams, each by its head, are from those of a dense one.

    Mean divergence of all tokens, in nats.
    """
    totals = [0.0] * len(streams)
    for window, hidden in enumerate(dense.hidden):
        expected = head(hidden[None]).log_softmax(-1)
        likely = expected.exp()
        for number, (stream, own) in enumerate(streams):
            given = own(stream.hidden[window][None]).log_softmax(-1)
            totals[number] += float((likely * (expected - given)).sum(-1).mean())
    return [max(total / len(dense.hidden), 0.0) for total in totals]


def _try(
    layer: Layer,
    projection: str,
    known: Sequence[Stream],
    dense: Stream,
    recipe: Recipe,
    choices: Collection[Choice],
) -> _Trial:
    """Measure a projection's errors, and send ``dense`` on through a probe fitted to ``known``."""
    weight = layer.projections[projection]
    experts = layer.description.projections()[projection].experts
    matrices = list(weight.chunk(max(experts, 1)))
    grams = list(expert_grams(known)) if experts else [gram(stream.inputs for stream in known)]

    def prune(matrix: Tensor, of_inputs: Tensor, choice: Choice) -> PrunedMatrix:
        return prune_matrix(
            matrix,
            of_inputs,
            choice,
            dampening_frac=recipe.dampening_frac,
            scale_group=recipe.group_of(choice.removed),
            without=recipe.without,
        )

    few = max(ROWS // len(matrices), EXPERT_ROWS if experts else 1)
    generator = torch.Generator().manual_seed(recipe.seed)
    rows = torch.randperm(len(matrices[0]), generator=generator)[:few].to(weight.device)
    some = torch.cat([matrix[rows] for matrix in matrices])
    probe = PROBE if weight.shape[1] % GROUP == 0 else Choice(0, "int4")
    errors, of_experts = {Choice(0, "float16"): 0.0}, list[ExpertErrors]()
    for choice in dict.fromkeys((*_to_measure(choices), probe)):
        pruned = prune_experts(some, [choice] * len(matrices), grams, prune)
        errors[choice] = pruned.joined().output_error
        if experts and choice.removed and choice.dtype == "float16":
            of_experts.append(pruned.errors())
    for choice in set(choices) - errors.keys():  # int8 with weights removed
        rounding = kept_share(choice.removed) * errors[Choice(0, "int8")]
        errors[choice] = errors[Choice(choice.removed, "float16")] + rounding

    changed = prune_experts(weight, [probe] * len(matrices), grams, prune).joined().values
    other = replace(layer, projections={**layer.projections, projection: changed})
    stream = dense.fork(layer)
    for _ in list(layer.projections)[list(layer.projections).index(projection) :]:
        stream.pass_through(other)
    losses = _losses(tokens_of_experts(known), weight.shape[1], of_experts) if of_experts else ()
    return _Trial(stream, errors, errors[probe], losses)


def _to_measure(choices: Collection[Choice]) -> list[Choice]:
    """List what stands for some choices: all n in float16 and few bits, int8 of all weights.

    int8 loses next to nothing, so that it is not rounded to for each n.
    """
    found = [Choice(n, "float16") for n in sorted({c.removed for c in choices} - {0})]
    few = [choice for choice in choices if choice.dtype in FIELD_BITS]
    return found + few + [Choice(0, "int8")] * any(c.dtype == "int8" for c in choices)


def _losses(
    tokens: Sequence[int], cols: int, removals: Sequence[ExpertErrors]
) -> tuple[ExpertLosses, ...]:
    """Return the losses of experts, by the errors of removing 1, 2 and 3 weights of all of them."""
    energies = zip(removals[0].energies, tokens, strict=True)
    return tuple(
        losses_of_experts(
            tokens,
            cols,
            [energy / (count + PRIOR_SHARE * cols) for energy, count in energies],
            [each.fitted for each in removals],
            [each.masked for each in removals],
        )
    )
