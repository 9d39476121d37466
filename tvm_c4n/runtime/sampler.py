"""Choose the next token from logits."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError


class Sampler:
    """Draws tokens; the same seed and logits give the same tokens.

    Parameters
    ----------
    temperature : float
        Logits are divided by it. 0 takes the most likely token, the lowest of equal ones.
    seed : int
        Seeds the draws; without effect at temperature 0.

    Raises
    ------
    C4nError
        A temperature or seed that is negative or not finite.
    """

    def __init__(self, temperature: float = 0.0, seed: int = 0) -> None:
        if not isfinite(temperature) or temperature < 0:
            raise C4nError(f"temperature is {temperature}; use 0 (most likely token) or more")
        if seed < 0:
            raise C4nError(f"seed is {seed}; use 0 or more")
        self.temperature = temperature
        self._random = np.random.default_rng(seed)

    def __call__(self, logits: NDArray[Any]) -> int:
        """Choose a token from logits ``(vocab,)``.

        Raises
        ------
        C4nError
            A logit is not a number or infinite.
        """
        logits = np.asarray(logits, dtype=np.float64)
        if not np.isfinite(logits).all():
            raise C4nError("a logit is not finite; the model is damaged")
        if self.temperature == 0:
            return int(np.argmax(logits))
        # The largest is taken off before the division: a tiny temperature must not overflow.
        weights = np.exp((logits - logits.max()) / self.temperature)
        total = np.cumsum(weights)
        drawn = int(np.searchsorted(total, self._random.random() * total[-1], side="right"))
        return min(drawn, len(logits) - 1)  # rounding may put the draw on the very end
