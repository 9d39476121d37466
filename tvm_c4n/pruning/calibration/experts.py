"""Statistics of experts, and their pruning: each by the tokens that it was given.

A router gives some experts few tokens of a calibration text. What such an expert's inputs look like
is known badly, so the average over all tokens is added to its sums, `PRIOR_SHARE` of its columns
times: much to an expert with few tokens, next to nothing to the others. Where an expert reads
channels of its own, behind its gate, there is no common average but that of their squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream
from tvm_c4n.pruning.method.matrix import PrunedMatrix
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.sparsity import C4nWeight

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


def prune_experts(
    weight: Tensor,
    experts: int,
    grams: Iterable[Tensor],
    prune: Callable[[Tensor, Tensor], PrunedMatrix],
) -> PrunedMatrix:
    """Prune the matrices of experts, each by its own statistics.

    Parameters
    ----------
    weight : (experts * rows, cols) float32
    experts : int
    grams : iterable of (cols, cols) float32
        One for each expert.
    prune : callable
        ``prune(matrix, gram)`` prunes one of them.

    Returns
    -------
    PrunedMatrix
        Its errors are those of all outputs together.
    """
    found, energies = list[PrunedMatrix](), list[float]()
    for matrix, statistics in zip(weight.chunk(experts), grams, strict=True):
        found.append(prune(matrix, statistics))
        outputs = times_transposed(matrix, statistics) * matrix
        energies.append(float(outputs.sum(dtype=torch.float64)))
    total = sum(energies) or 1.0

    def mean(errors: Iterable[float]) -> float:
        return sum(e * energy for e, energy in zip(errors, energies, strict=True)) / total

    return PrunedMatrix(
        C4nWeight.stack([one.weight for one in found]),
        mean(one.masked_error for one in found),
        mean(one.output_error for one in found),
    )


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
    return torch.eye(cols) * (squares / (rows * cols))
