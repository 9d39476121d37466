"""How likely a model finds a text, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.evaluate.perplexity import negative_log_likelihood
from tvm_c4n.runtime.tokens import Ids, check_tokens

if TYPE_CHECKING:
    from tvm_c4n.runtime.engine import Engine


# exp of more is no float.
_LARGEST = 700


@dataclass(frozen=True, eq=False)
class TextScore:
    """The tokens of a text and their probabilities, each after all tokens before it.

    Attributes
    ----------
    tokens : ndarray, (n,) int32
    logprobs : ndarray, (n,) float64
        Natural logarithms.
    """

    tokens: NDArray[np.int32]
    logprobs: NDArray[np.float64]

    @property
    def logprob(self) -> float:
        """Natural logarithm of the text's probability."""
        return float(self.logprobs.sum())

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative log-probability of a token."""
        mean = -float(self.logprobs.mean())
        return exp(mean) if mean < _LARGEST else inf


def score_tokens(engine: Engine, ids: Ids, before: Ids) -> TextScore:
    """Score tokens that follow others, from a fresh state.

    Logits are there for one chunk at a time, so that a long text takes no more memory than a short
    one.

    Parameters
    ----------
    engine : Engine
    ids : sequence of int
        At least one token.
    before : sequence of int
        What they follow; at least one token.

    Raises
    ------
    C4nError
        No tokens, one outside the vocabulary, more than the model reads, or a damaged model.
    """
    config, chunk = engine.config, engine.manifest.chunk
    tokens = check_tokens(ids, config.vocab_size)
    first = check_tokens(before, config.vocab_size)
    engine.reset()
    if len(first) > 1:
        engine.prefill(first[:-1])
    reads = np.concatenate([first[-1:], tokens[:-1]])
    targets, found = tokens.astype(np.int64), list[NDArray[Any]]()
    for start in range(0, len(reads), chunk):
        part = slice(start, start + chunk)
        found.append(-negative_log_likelihood(engine.score(reads[part]), targets[part]))
    return TextScore(tokens, np.concatenate(found))
