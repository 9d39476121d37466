"""Perplexity over windows of a text, by a protocol that is the same for every engine.

Protocol. The text is one row of tokens: the documents in order, each followed by the separator
token (`tvm_c4n.model.text.load_text_ids`). It is cut into consecutive windows that do not overlap;
a last one that is not full is dropped, unless it is the only one. Each window is scored alone: the
model starts from a state of zeros and reads the token that starts a text (bos; where a model has
none, the separator) and then all tokens of the window but the last, so that all ``window`` tokens
of the window are predicted. The perplexity is exp of the mean negative log-likelihood over all
predicted tokens, in natural logarithms.

The state is fresh in every window, so that the figure does not depend on how the windows are
batched, and so that the protocol is the same for engines with and without a state. The standard
error treats the windows as independent draws: stderr(ppl) = ppl * stderr(mean nll).

The figures on the default model's card (22.51 and 22.676) come from windows that start with a token
of the text in place of the separator, so that they differ from this protocol's by the first token's
guess and by which windows were drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError

Score = Callable[[NDArray[np.int64]], NDArray[Any]]
WINDOW_TOKENS = 1024


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of a text.

    Attributes
    ----------
    value : float
        exp of the mean negative log-likelihood per token.
    stderr : float
        Its standard error over windows; nan for a single window.
    tokens : int
        Tokens that were predicted.
    windows : int
    """

    value: float
    stderr: float
    tokens: int
    windows: int

    def __str__(self) -> str:
        spread = f" +/- {self.stderr:.2f}" if self.windows > 1 else ""
        return f"PPL = {self.value:.2f}{spread}"


def perplexity(
    score: Score,
    ids: NDArray[Any],
    window: int = WINDOW_TOKENS,
    *,
    max_windows: int | None = None,
    start: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:
    """Measure the perplexity of a text.

    Parameters
    ----------
    score : callable
        ``score(ids (t,) int64) -> logits (t, v)``, from a fresh state; row i predicts token i + 1.
    ids : (tokens,) int
        The text.
    window : int
        Tokens per window.
    max_windows : int, optional
        Score at most this many windows, spread evenly over the text.
    start : int
        Token that starts each window.
    progress : callable, optional
        ``progress(done, total)`` after each window.

    Returns
    -------
    Perplexity

    Raises
    ------
    C4nError
        No tokens, a window below 1, or logits of a wrong shape or not finite.
    """
    ids = np.asarray(ids, dtype=np.int64)
    if window < 1:
        raise C4nError(f"cannot score windows of {window} tokens; use --window 1 or more")
    if ids.ndim != 1 or ids.size == 0:
        raise C4nError(f"cannot score windows of {window} tokens of a text of shape {ids.shape}")
    if max_windows is not None and max_windows < 1:
        raise C4nError(f"cannot score {max_windows} windows; use --max-windows 1 or more")
    starts = window_starts(len(ids), window, max_windows)
    losses = np.empty((len(starts), min(window, len(ids))))
    for row, at in enumerate(starts):
        targets = ids[at : at + window]
        logits = score(np.concatenate([[start], targets[:-1]]))
        losses[row] = negative_log_likelihood(logits, targets)
        if progress is not None:
            progress(row + 1, len(starts))
    mean = float(losses.mean())
    spread = float(losses.mean(axis=1).std(ddof=1)) if len(starts) > 1 else float("nan")
    value = exp(mean) if mean < 700 else float("inf")
    return Perplexity(value, value * spread / sqrt(len(starts)), losses.size, len(starts))


def negative_log_likelihood(logits: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[Any]:
    """``-log softmax(logits)[target]`` per row: (t, v), (t,) -> (t,) float64.

    Raises
    ------
    C4nError
        Logits that are not one finite row per target, or a target beyond them.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or len(logits) != len(targets):
        raise C4nError(f"logits have shape {logits.shape} for {len(targets)} tokens")
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise C4nError(f"a token lies outside the model's {logits.shape[1]} logits")
    largest = logits.max(axis=1, keepdims=True)
    if not np.isfinite(logits).all():
        raise C4nError("a logit is not finite; the model is damaged")
    total = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return np.asarray(total - logits[np.arange(len(targets)), targets])


def window_for(window: int | None, context: int | None) -> int:
    """Return how many tokens a window has: what is asked for, or what the model reads.

    Parameters
    ----------
    window : int, optional
        Default: `WINDOW_TOKENS`, or the context where that is shorter.
    context : int, optional
        Tokens of the longest text that the model reads; None without a limit.

    Raises
    ------
    C4nError
        The window is longer than the context.
    """
    if window is None:
        return WINDOW_TOKENS if context is None else min(WINDOW_TOKENS, context)
    if context is not None and window > context:
        raise C4nError(
            f"cannot score windows of {window} tokens: this model reads {context} at most; "
            f"use --window {context} or less"
        )
    return window


def window_starts(tokens: int, window: int, max_windows: int | None) -> list[int]:
    """Return the first token of each window that is scored; see the module's protocol."""
    count = max(1, tokens // window)
    if max_windows is None or max_windows >= count:
        chosen = np.arange(count)
    else:
        chosen = np.linspace(0, count - 1, max_windows).round().astype(int)
    return [int(i) * window for i in chosen]
