"""What each weight of a model loses by each choice: measured, one layer in memory at a time.

Of each projection two things are measured. How its output's error grows with n and with rounding:
from one sweep for each, on the dense model's statistics. And what such an error costs the model:
each projection is pruned by itself (`PROBE`), and the divergence of the model's predictions from
the dense model's (Kullback-Leibler, nats per token) is measured on some windows. To second order
the divergence is proportional to the energy of the error, so that

    loss(choice) = divergence(probe) * error(choice) / error(probe).

The streams with one pruned projection each go through the layers side by side, so that no layer is
read twice. The embeddings and the head are rounded together, and their divergence taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.allocation.experts import ExpertLosses, losses_of_experts
from tvm_c4n.pruning.calibration.experts import (
    PRIOR_SHARE,
    ExpertErrors,
    expert_grams,
    prune_experts,
)
from tvm_c4n.pruning.calibration.layer import Head, Layer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream
from tvm_c4n.pruning.devices import CPU
from tvm_c4n.pruning.method.matrix import PrunedMatrix, prune_matrix
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.sparsity import GROUP, INT_BITS, DType, from_dense, kept_share

PROBE = Choice(2, "float16")
# Windows that the divergence is measured on. All streams see the same ones, so that their order is
# clear long before the divergences themselves are exact.
SENSITIVITY_WINDOWS = 8
_ROUNDED: tuple[DType, ...] = ("int8", "int4", "int3", "int2")


@dataclass(frozen=True)
class Sensitivity:
    """What one weight loses.

    Attributes
    ----------
    removal : tuple of float
        Loss of removing n = 0, 1, 2, 3 of every 4 weights, in nats per token; only n = 0 where the
        columns do not fill groups.
    rounding : dict of dtype to float
        Loss of rounding all its weights, of the integer dtypes that were measured. With weights
        removed there are fewer to round.
    experts : tuple of tuple of float
        What `removal` adds up, of each expert; none of other projections.
    """

    removal: tuple[float, ...]
    rounding: dict[DType, float]
    experts: tuple[ExpertLosses, ...] = ()

    def loss(self, choice: Choice) -> float:
        """Return the loss of a choice in nats per token."""
        removal = self.removal[choice.removed]
        if choice.each:
            removal = sum(own[n] for own, n in zip(self.experts, choice.each, strict=True))
        rounding = self.rounding[choice.dtype] if choice.dtype in INT_BITS else 0.0
        return removal + kept_share(choice.pattern) * rounding

    def as_json(self) -> list[Any]:
        """Return what `from_json` reads."""
        return [self.removal, self.rounding, self.experts]

    @classmethod
    def from_json(cls, found: Sequence[Any]) -> Sensitivity:
        """Undo `as_json`."""
        removal, rounding, experts = found
        return cls(tuple(removal), rounding, tuple(map(tuple, experts)))


@dataclass(frozen=True)
class _Trial:
    """The model with one projection changed, and the errors of all ways to change it."""

    stream: Stream
    errors: dict[Choice, float]
    probe: Choice
    experts: tuple[ExpertLosses, ...]

    def sensitivity(self, divergence: float) -> Sensitivity:
        error = self.errors[self.probe]
        scale = divergence / error if error > 0 else 0.0
        rounding = {c.dtype: scale * e for c, e in self.errors.items() if not c.removed}
        if self.experts:
            experts = tuple(tuple(scale * e for e in own) for own in self.experts)
            return Sensitivity(tuple(map(sum, zip(*experts, strict=True))), rounding, experts)
        removal = (scale * e for choice, e in self.errors.items() if choice.removed)
        return Sensitivity((0.0, *removal), rounding)


def measure(
    checkpoint: Checkpoint,
    config: ModelConfig,
    recipe: Recipe,
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
        For ``dampening_frac`` and ``scale_group``.
    windows : (b, t) int64
        Calibration windows; the first `SENSITIVITY_WINDOWS` are used.
    note : callable
        Told of each layer when it is done.
    device : torch.device

    Returns
    -------
    dict of tensor name to Sensitivity
        The embeddings (with the head) and the projections, in the model's order.
    """
    windows = windows[:SENSITIVITY_WINDOWS]
    embeddings = torch.from_numpy(checkpoint.dense(config.embeddings))
    scale = config.embedding_scale
    dense = Stream((scale * embeddings[windows]).to(device), forks=True)
    rounded = {
        d: Stream((scale * _round(embeddings, d, recipe)[windows]).to(device)) for d in _ROUNDED
    }
    trials: dict[str, _Trial] = {}
    for index in range(config.n_layer):
        layer = Layer.load(checkpoint, config, index, device)
        for stream in (*rounded.values(), *(trial.stream for trial in trials.values())):
            stream.enter(layer)
            for _ in layer.projections:
                stream.pass_through(layer)
        dense.enter(layer)
        for name, projection in config.projections(index).items():
            trials[projection.weight] = _try(layer, name, dense, recipe)
            dense.pass_through(layer)
        note(f"layer {index} sensitivity")

    loaded = Head.load(checkpoint, config)
    head = loaded.to(device)

    def divergence(stream: Stream, other: Head = head) -> float:
        """Mean divergence of a stream's predictions from the dense one's."""
        total = 0.0
        for ours, theirs in zip(stream.hidden, dense.hidden, strict=True):
            logs = [
                read(hidden[None]).log_softmax(-1)
                for hidden, read in ((theirs, head), (ours, other))
            ]
            total += float((logs[0].exp() * (logs[0] - logs[1])).sum(-1).mean())
        return max(total / len(windows), 0.0)

    def rounded_head(dtype: DType) -> Head:
        return loaded.changed(lambda matrix: _round(matrix, dtype, recipe)).to(device)

    losses = {d: divergence(rounded[d], rounded_head(d)) for d in _ROUNDED}
    found = {config.embeddings: Sensitivity((0.0,), losses)}
    for name, trial in trials.items():
        found[name] = trial.sensitivity(divergence(trial.stream))
    return found


def _try(layer: Layer, projection: str, dense: Stream, recipe: Recipe) -> _Trial:
    """Measure a projection's errors, and send the windows on through its probe."""
    weight = layer.projections[projection]
    prunable = weight.shape[1] % GROUP == 0
    choices = [Choice(n, "float16") for n in range(1, GROUP)] if prunable else []
    choices += [Choice(0, dtype) for dtype in _ROUNDED]
    probe = PROBE if prunable else Choice(0, "int4")
    experts = layer.description.projections()[projection].experts
    statistics = torch.empty(0) if experts else gram([dense.inputs])
    errors, of_experts = dict[Choice, float](), list[ExpertErrors]()
    changed = layer
    for choice in choices:

        def prune(matrix: Tensor, of_inputs: Tensor, choice: Choice) -> PrunedMatrix:
            return prune_matrix(
                matrix,
                of_inputs,
                choice,
                dampening_frac=recipe.dampening_frac,
                scale_group=recipe.group_of(choice.removed),
                without=("refit", "reselect"),
            )

        if experts:
            own = prune_experts(weight, [choice] * experts, expert_grams([dense]), prune)
            pruned = own.joined()
            if choice.removed:
                of_experts.append(own.errors())
        else:
            pruned = prune(weight, statistics, choice)
        errors[choice] = pruned.output_error
        if choice == probe:
            own_weights = {**layer.projections, projection: pruned.values}
            changed = replace(layer, projections=own_weights)
    stream = dense.fork(layer)
    for _ in list(layer.projections)[list(layer.projections).index(projection) :]:
        stream.pass_through(changed)
    losses = _losses(dense.routing.counts, weight.shape[1], of_experts) if of_experts else ()
    return _Trial(stream, errors, probe, losses)


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


def _round(weight: Tensor, dtype: DType, recipe: Recipe) -> Tensor:
    packed = from_dense(weight.numpy(), 0, dtype, scale_group=recipe.group_of(0))
    return torch.from_numpy(packed.dense())
