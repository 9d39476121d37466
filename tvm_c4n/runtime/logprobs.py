"""Log-probabilities of a token that was chosen, and of those that were most likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenLogprobs:
    """What the model gave a token, before penalties, temperature and the like.

    Attributes
    ----------
    token : int
    logprob : float
        Natural logarithm of its probability.
    top : tuple of (int, float)
        The most likely tokens with theirs, in falling order; of equal ones the lower token first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def logprobs_of(logits: NDArray[Any], token: int, count: int) -> TokenLogprobs:
    """Return the log-probabilities of a token and of the most likely ones.

    Parameters
    ----------
    logits : ndarray, (vocab,)
    token : int
    count : int
        Of the most likely tokens; the vocabulary has no more than it has.
    """
    wide = np.asarray(logits, np.float64)
    wide = wide - wide.max()
    wide = wide - np.log(np.exp(wide).sum())
    count = min(count, len(wide))
    top: NDArray[np.int64] = np.zeros(0, np.int64)
    if count:
        # Those as likely as the last one are sorted along, so that the lower tokens remain.
        least = np.partition(wide, -count)[-count]
        top = np.flatnonzero(wide >= least)
        top = top[np.argsort(-wide[top], kind="stable")][:count]
    return TokenLogprobs(token, float(wide[token]), tuple((int(t), float(wide[t])) for t in top))
