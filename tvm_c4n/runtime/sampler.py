"""Choose the next token from logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.sampling import GREEDY, WHOLE_TEXT, SamplingParams

Logits = NDArray[np.float64]
# Shares of the most likely token's probability, below which tokens are not sorted for top-p: the
# first one below which few enough lie.
_RARE = (1e-3, 1e-5, 0.0)


class Sampler:
    """Draws the tokens of one text; the same parameters and logits give the same tokens.

    Parameters
    ----------
    params : SamplingParams
    text : iterable of int
        The tokens so far, for the window of penalties; those that are drawn follow them.
    """

    def __init__(self, params: SamplingParams = GREEDY, text: Iterable[int] = ()) -> None:
        self.params = params
        # numpy.random takes 25 ms to load, which the first token of a greedy text would wait for.
        self._random = None if params.temperature == 0 else np.random.default_rng(params.seed)
        last = None if params.repeat_last_n == WHOLE_TEXT else params.repeat_last_n
        self._window: deque[int] = deque(text if params.penalises else (), maxlen=last)

    def __call__(self, logits: NDArray[Any]) -> int:
        """Choose a token from logits ``(vocab,)``.

        Raises
        ------
        C4nError
            A logit is not a number or infinite.
        """
        logits = np.asarray(logits)
        if not np.isfinite(logits).all():
            raise C4nError("a logit is not finite; the model is damaged")
        if self._random is None and not self.params.penalises:
            return int(logits.argmax())
        logits = logits.astype(np.float64)
        if self.params.penalises:
            logits = penalised(logits, self._window, self.params)
        random = self._random
        token = int(np.argmax(logits)) if random is None else self._draw(logits, random.random())
        if self.params.penalises:
            self._window.append(token)
        return token

    def _draw(self, logits: Logits, share: float) -> int:
        tokens = candidates(logits, self.params)
        left = logits if tokens is None else logits[tokens]
        # The largest is taken off before the division: a tiny temperature must not overflow.
        weights = np.exp((left - left.max()) / self.params.temperature)
        total = np.cumsum(weights)
        drawn = int(np.searchsorted(total, share * total[-1], side="right"))
        drawn = min(drawn, len(left) - 1)  # rounding may put the draw on the very end
        return drawn if tokens is None else int(tokens[drawn])


def penalised(logits: Logits, window: Iterable[int], params: SamplingParams) -> Logits:
    """Return logits ``(vocab,)`` with those of the tokens in the window lowered."""
    tokens, counts = np.unique(np.fromiter(window, np.int64), return_counts=True)
    changed = logits.copy()
    said = logits[tokens]
    said = np.where(said > 0, said / params.repeat_penalty, said * params.repeat_penalty)
    changed[tokens] = said - params.presence_penalty - counts * params.frequency_penalty
    return changed


def candidates(logits: Logits, params: SamplingParams) -> NDArray[np.int64] | None:
    """Return the tokens that top-k, top-p and min-p leave, in order; None where that is all."""
    if params.top_k == 0 and params.top_p == 1 and params.min_p == 0:
        return None
    least = -np.inf
    if 0 < params.top_k < len(logits):
        least = np.partition(logits, -params.top_k)[-params.top_k]
    if params.top_p < 1:
        least = _least_of_top_p(logits[logits >= least], params.top_p)
    if params.min_p > 0:
        least = max(least, logits.max() + log(params.min_p))
    return np.flatnonzero(logits >= least)


def _least_of_top_p(logits: Logits, top_p: float) -> float:
    """Return the smallest logit that top-p leaves.

    As in transformers, tokens go from the least likely one on while they come to ``1 - top_p``.
    Nearly all of a large vocabulary are so unlikely that they go together: the others are sorted.
    """
    weights = np.exp(logits - logits.max())
    most = (1 - top_p) * weights.sum()
    for share in _RARE:
        rare = weights < share
        gone = weights[rare].sum()
        if gone <= most:
            break
    rising = np.sort(logits[~rare])
    lower = gone + np.cumsum(np.exp(rising - rising[-1])) <= most
    return float(rising[min(int(np.count_nonzero(lower)), len(rising) - 1)])
