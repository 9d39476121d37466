"""What each expert of a projection loses, and which n they may have together. Pure numpy.

An expert's loss is the error of its outputs, times how often it is asked. Both are known badly of
an expert that calibration hardly reaches:

- Its weights are fitted to few tokens, and other tokens gain less by that. With no token of its own
  the error is that of its mask alone, without compensation; with as many as its matrix has columns
  it is half-way to the measured one.
- A router is trained to ask all alike, and another text asks others: half of a share is what was
  counted, the other half that of all.

So such an expert loses more by the same n than one that calibration knows, and keeps more weights.
Both rules are guesses: no trained model was at hand (docs/decisions/experts.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.sparsity import GROUP, Removed, joined_removed

# Patterns of a projection in which experts differ, between dense and n = 3 for all.
PATTERNS = 9
# Losses of an expert for n = 0, 1, 2, 3.
ExpertLosses: TypeAlias = tuple[float, ...]


def losses_of_experts(
    tokens: Sequence[int],
    cols: int,
    energies: Sequence[float],
    errors: Sequence[Sequence[float]],
    masked: Sequence[Sequence[float]],
) -> list[ExpertLosses]:
    """Return what each expert adds to the relative error of the projection's output.

    Parameters
    ----------
    tokens : (experts,) int
        Tokens of the calibration text that each was given.
    cols : int
        Columns of an expert's matrix.
    energies : (experts,) float
        ``||W X||^2`` of each, for a token.
    errors, masked : (n = 1, 2, 3; experts) float
        Relative errors of an expert's outputs, with its final weights and with the mask alone.

    Returns
    -------
    list of (n = 0, 1, 2, 3) float
    """
    counted = np.asarray(tokens, np.float64)
    known = counted / (counted + cols)
    share = counted / max(counted.sum(), 1.0)
    expected = (share + 1 / len(tokens)) / 2
    total = float((share * np.asarray(energies)).sum()) or 1.0
    fitted, alone = np.asarray(errors), np.asarray(masked)
    losses = expected * np.asarray(energies) / total * (alone + known * (fitted - alone))
    # Removing more never loses less; measured errors of next to nothing may say so.
    ascending = np.maximum.accumulate(losses, axis=0)
    return [(0.0, *map(float, own)) for own in ascending.T]


def patterns(losses: Sequence[ExpertLosses], count: int = PATTERNS) -> list[Removed]:
    """Return some n of all experts that lose least for what they remove, where these differ.

    From all dense to n = 3 for all, the experts lose one weight of every 4 after another: next is
    the one that loses least by it. These steps are best for every number of them if each expert's
    loss is convex in n; where it is not, its hull is taken.
    """
    steps = sorted(
        (step, number, expert)
        for expert, own in enumerate(losses)
        for number, step in enumerate(_hull_steps(own))
    )
    found, removed = list[Removed](), [0] * len(losses)
    wanted = {round(len(steps) * i / (count + 1)) for i in range(1, count + 1)}
    for done, (_, _, expert) in enumerate(steps, 1):
        removed[expert] += 1
        pattern = joined_removed(removed)
        if done in wanted and isinstance(pattern, tuple):
            found.append(pattern)
    return found


def _hull_steps(losses: ExpertLosses) -> NDArray[np.float64]:
    """Return the slopes of the lower convex hull of losses over n, from each n to the next."""
    hull = [0]
    for n in range(1, len(losses)):
        hull.append(n)
        while len(hull) > 2:
            first, middle, last = hull[-3:]
            rise = (losses[last] - losses[first]) * (middle - first)
            if (losses[middle] - losses[first]) * (last - first) < rise:
                break
            del hull[-2]
    slopes = np.zeros(GROUP - 1)
    for start, end in pairwise(hull):
        slopes[start:end] = (losses[end] - losses[start]) / (end - start)
    return slopes
