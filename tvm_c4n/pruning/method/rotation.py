"""Learn a rotation of the residual stream after which groups of 4 lose less.

Of each group the n smallest scores ``w^2 / [H^-1]_jj`` go, the losses of removing each weight by
itself. What is made small is their share of all scores, averaged over the matrices that read the
stream, each with the n that the recipe has for it. Importance gathers in fewer weights by that,
which pruning wants (and rounding does not: docs/decisions/rotation.md).

In the basis R the weights W are W R^T and the inverse H^-1 is R H^-1 R^T. R takes steps of Adam
(Kingma and Ba, 2015) in the skew-symmetric directions, in which rotations move, by Cayley's
transform; a step looks at some rows of some matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import cos, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.pruning.method.hessian import identity_like
from tvm_c4n.sparsity import GROUP
from tvm_c4n.torch_blocks.threads import map_in_threads

# Steps at most, and for each channel: small rotations are found sooner. Of each step the matrices
# that it looks at, and the rows of these.
STEPS, CHANNEL_STEPS, MATRICES, ROWS = 700, 2, 4, 512
RATE, BETAS = 0.04, (0.9, 0.99)
# Steps in which the rate rises; it falls as a cosine afterwards.
WARM_UP = 20
# Steps between two reports.
REPORT_STEPS = 50
# Newton steps at the end: an error of 1e-4 would be 1e-16 after two.
POLISHES = 3


class Reader(NamedTuple):
    """A matrix that reads the residual stream.

    Attributes
    ----------
    weight : (rows, h) float32
        Gain folded in.
    inverse : (h, h) float32
        Of the damped statistics of the normed stream.
    removed : int
        n, 1..3.
    """

    weight: Tensor
    inverse: Tensor
    removed: int


def steps_of(width: int) -> int:
    """Return how many steps a rotation of so many channels takes."""
    return min(STEPS, CHANNEL_STEPS * width)


def find_rotation(
    readers: list[Reader], seed: int, note: Callable[[], None] = lambda: None
) -> Tensor:
    """Learn a rotation.

    Parameters
    ----------
    readers : list of Reader
        At least one; h is a multiple of 4.
    seed : int
        Draws rows and matrices.
    note : callable
        Called every `REPORT_STEPS`.

    Returns
    -------
    (h, h) float32
        R, orthogonal up to float32's rounding: new = R old.
    """
    scaled = [_scaled(reader) for reader in readers]
    descent = _Descent(identity_like(scaled[0].inverse))
    each = map_in_threads if on_cpu(descent.rotation) else _in_turn
    generator = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    for step in range(descent.steps):
        if not waiting:
            waiting = torch.randperm(len(scaled), generator=generator).tolist()
        some, waiting = waiting[:MATRICES], waiting[MATRICES:]
        parts = [_some_rows(scaled[number], generator) for number in some]
        gradients = each(partial(share_gradient, descent.rotation), parts)
        # One item: calls of all threads would wait for each other, as in the gradients.
        each(descent.step, [[found for _, found in gradients]])
        if (step + 1) % REPORT_STEPS == 0:
            note()
    return nearest_rotation(descent.rotation)


def _in_turn(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return [function(item) for item in items]


def nearest_rotation(matrix: Tensor) -> Tensor:
    """Take out of a rotation (h, h) what rounding added in all the steps.

    Newton's iteration to the polar factor (Higham, 1986, in Schulz's form): errors of the size of
    float32's rounding are squared each time. A singular value decomposition, which gives the same,
    takes a GPU minutes.
    """
    found = matrix.double()
    for _ in range(POLISHES):
        found = 1.5 * found - 0.5 * found @ (found.T @ found)
    return found.float()


class _Descent:
    """Adam among rotations.

    Parameters
    ----------
    start : (h, h) float32

    Attributes
    ----------
    rotation : (h, h) float32
    steps : int
        How many there will be.
    """

    def __init__(self, start: Tensor) -> None:
        self.steps = steps_of(len(start))
        self.rotation = start
        self._first, self._second = torch.zeros_like(start), torch.zeros_like(start)
        self._done = 0

    def step(self, gradients: list[Tensor]) -> None:
        """Take a step against the mean of some gradients by the rotation."""
        gradient = torch.stack(gradients).mean(0) @ self.rotation.T
        direction = gradient - gradient.T
        self._first.lerp_(direction, 1 - BETAS[0])
        self._second.lerp_(direction.square(), 1 - BETAS[1])
        rate = RATE * min(1.0, (self._done + 1) / WARM_UP)
        rate *= 0.5 * (1 + cos(pi * self._done / self.steps))
        self._done += 1
        first, second = (1 - beta**self._done for beta in BETAS)
        size = (self._second / second).sqrt().clamp_min(torch.finfo(direction.dtype).tiny)
        self.rotation = cayley(self._first / first / size * -rate) @ self.rotation


def _some_rows(reader: Reader, generator: torch.Generator) -> Reader:
    rows = torch.randperm(len(reader.weight), generator=generator)[:ROWS]
    return reader._replace(weight=reader.weight[rows])


def _scaled(reader: Reader) -> Reader:
    """Return the same problem with numbers around one: shares do not change."""
    weight, inverse, removed = reader
    tiny = torch.finfo(weight.dtype).tiny
    mean = weight.square().mean().sqrt().clamp_min(tiny)
    return Reader(weight / mean, inverse / inverse.diagonal().mean().clamp_min(tiny), removed)


def cayley(skew: Tensor) -> Tensor:
    """``(1 - A/2)^-1 (1 + A/2)`` of a skew-symmetric A: a rotation."""
    identity, half = identity_like(skew), skew / 2
    found: Tensor = torch.linalg.solve(identity - half, identity + half)
    return found


def share_gradient(rotation: Tensor, reader: Reader) -> tuple[float, Tensor]:
    """Return the share of the scores that goes, and its gradient by the rotation (h, h)."""
    weight, inverse, removed = reader
    turned = weight @ rotation.T
    product = rotation @ inverse
    diagonal = (product * rotation).sum(1)
    scores = turned.square() / diagonal
    goes = smallest(scores, removed)
    total = scores.sum().clamp_min(torch.finfo(scores.dtype).tiny)
    share = (scores * goes).sum() / total
    by_score = (goes - share) / total
    by_weight = 2 * turned * by_score / diagonal
    by_diagonal = -(by_score * scores).sum(0) / diagonal
    gradient = by_weight.T @ weight + 2 * by_diagonal[:, None] * product
    return float(share), gradient


def smallest(scores: Tensor, removed: int) -> Tensor:
    """Mark the n smallest of each group, ones among zeros: (rows, h) -> (rows, h).

    By hand: torch takes longer to sort many groups than the products take. Of equals, all are
    marked.
    """
    groups = scores.unflatten(1, (-1, GROUP))
    a, b, c, d = groups.unbind(-1)
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    other_low, other_high = torch.minimum(c, d), torch.maximum(c, d)
    between = torch.maximum(low, other_low), torch.minimum(high, other_high)
    last = {
        1: torch.minimum(low, other_low),
        2: torch.minimum(*between),
        3: torch.maximum(*between),
    }[removed]
    return (groups <= last[..., None]).flatten(1).to(scores.dtype)
