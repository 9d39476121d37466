"""Statistics of experts, and their pruning: each by the tokens that it was given.

A router gives some experts few tokens of a calibration text. What such an expert's inputs look like
is known badly, so the average over all tokens is added to its sums, `PRIOR_SHARE` of its columns
times: much to an expert with few tokens, next to nothing to the others. Where an expert reads
channels of its own, behind its gate, there is no common average but that of their squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream
from tvm_c4n.pruning.method.matrix import PrunedMatrix
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.sparsity import C4nWeight, StackedWeight

# Tokens of the average that an expert's own are joined by, over the columns of its matrix.
PRIOR_SHARE = 0.125


def expert_grams(
    streams: Sequence[Stream], token_weights: Sequence[Tensor] | None = None
) -> Iterator[Tensor]:
    """Yield for each expert ``X^T X`` of what it reads, and a little of what all of them do.

    Parameters
    ----------
    streams : list of Stream
        They stand at a projection of experts.
    token_weights : list of (b, t, 1) float32, optional
        What the square of each token's error counts.

    Yields
    ------
    (cols, cols) float32

    Raises
    ------
    C4nError
        An activation is not finite.
    """
    weighted = [
        stream.inputs if weights is None else stream.inputs * _like(stream, weights.sqrt())
        for stream, weights in zip(streams, token_weights or [None] * len(streams), strict=True)
    ]
    prior = _average(weighted) * (PRIOR_SHARE * weighted[0].shape[-1])
    for expert in range(len(streams[0].routing.counts)):
        mine = (s.routing.of_expert(x, expert) for s, x in zip(streams, weighted, strict=True))
        yield gram(x[None] for x in mine) + prior


class ExpertErrors(NamedTuple):
    """Energies of outputs, and errors of each expert: see `PrunedMatrix`."""

    energies: list[float]
    fitted: list[float]
    masked: list[float]


class PrunedExperts(NamedTuple):
    """The matrices of experts, pruned one by one.

    Attributes
    ----------
    matrices : list of PrunedMatrix
    energies : list of float
        ``||W X||^2`` of each.
    """

    matrices: list[PrunedMatrix]
    energies: list[float]

    def errors(self) -> ExpertErrors:
        """Return the errors of each, without the weights."""
        return ExpertErrors(
            self.energies,
            [one.output_error for one in self.matrices],
            [one.masked_error for one in self.matrices],
        )

    def joined(self) -> PrunedMatrix:
        """Return them as one; its errors are those of all outputs together."""
        total = sum(self.energies) or 1.0

        def mean(errors: Iterable[float]) -> float:
            return sum(e * energy for e, energy in zip(errors, self.energies, strict=True)) / total

        stored = [one.weight for one in self.matrices if isinstance(one.weight, C4nWeight)]
        return PrunedMatrix(
            StackedWeight.of(stored),
            mean(one.masked_error for one in self.matrices),
            mean(one.output_error for one in self.matrices),
            torch.cat([one.values for one in self.matrices]),
        )


def prune_experts(
    weight: Tensor,
    choices: Sequence[Choice],
    grams: Iterable[Tensor],
    prune: Callable[[Tensor, Tensor, Choice], PrunedMatrix],
) -> PrunedExperts:
    """Prune the matrices of experts, each by its own statistics.

    Parameters
    ----------
    weight : (experts * rows, cols) float32
    choices : sequence of Choice
        How each expert is stored.
    grams : iterable of (cols, cols) float32
        One for each expert.
    prune : callable
        ``prune(matrix, gram, choice)`` prunes one of them.
    """
    found = PrunedExperts([], [])
    matrices = zip(weight.chunk(len(choices)), grams, choices, strict=True)
    for matrix, statistics, choice in matrices:
        found.matrices.append(prune(matrix, statistics, choice))
        outputs = times_transposed(matrix, statistics) * matrix
        found.energies.append(float(outputs.sum(dtype=torch.float64)))
    return found


def tokens_of_experts(streams: Sequence[Stream]) -> list[int]:
    """Return how many tokens each expert was given."""
    return [sum(counts) for counts in zip(*(s.routing.counts for s in streams), strict=True)]


def _like(stream: Stream, values: Tensor) -> Tensor:
    """Return values of tokens (b, t, 1) for the rows of a stream's inputs."""
    return stream.routing.of_tokens(values) if stream.inputs.dim() == 2 else values


def _average(inputs: Sequence[Tensor]) -> Tensor:
    """Return ``X^T X`` of a token; of pairs of a token and an expert, its mean on the diagonal."""
    rows = sum(x.flatten(0, -2).shape[0] for x in inputs)
    if inputs[0].dim() == 3:
        return gram(inputs) / rows
    squares = sum(float(x.square().sum(dtype=torch.float64)) for x in inputs)
    cols = inputs[0].shape[-1]
    return torch.eye(cols, device=inputs[0].device) * (squares / (rows * cols))
