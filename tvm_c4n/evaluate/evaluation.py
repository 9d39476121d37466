"""Perplexity and bits per byte of a model on a text.

Models are scored with compiled code (`tvm_c4n.compile.cache.load`): the numpy reference reads only
some ten tokens per second, and what is measured is then also what will run.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.evaluate.perplexity import Perplexity, Score, perplexity, window_for, window_starts
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.progress import Progress

if TYPE_CHECKING:
    from tvm_c4n.runtime.engine import Engine


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text.

    Attributes
    ----------
    perplexity : Perplexity
    bits_per_byte : float
        Bits per byte of UTF-8: comparable between models with different tokenizers.
    """

    perplexity: Perplexity
    bits_per_byte: float


def evaluate_text(
    engine: Engine,
    text: str | Path,
    *,
    window: int | None = None,
    max_windows: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure the perplexity of a text; the protocol is that of `evaluate.perplexity`.

    Parameters
    ----------
    engine : Engine
    text : path
        See `tvm_c4n.model.text.read_documents`.
    window : int, optional
        Tokens per window; default: 1024, or the model's context where that is shorter.
    max_windows : int, optional
        Score at most this many windows, spread evenly over the text.
    progress : callable, optional
        Called as ``progress("windows", done, total)``.

    Raises
    ------
    C4nError
        The text cannot be read, the model does not fit its tokenizer, or the window is longer
        than its context.
    """
    return evaluate_scored(
        engine_score(engine),
        engine.tokenizer,
        text,
        context=engine.config.context,
        window=window,
        max_windows=max_windows,
        progress=progress,
    )


def engine_score(engine: Engine) -> Score:
    """Score with compiled code: ``score(ids (t,)) -> logits (t, v)``, from a fresh state."""

    def score(ids: NDArray[np.int64]) -> NDArray[Any]:
        engine.reset()
        return engine.score(ids)

    return score


def evaluate_scored(
    score: Score,
    tokenizer: TextTokenizer,
    text: str | Path,
    *,
    context: int | None = None,
    window: int | None = None,
    max_windows: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate anything that gives logits and reads ``context`` tokens; see `evaluate_text`."""
    window = window_for(window, context)
    ids = load_text_ids(text, tokenizer)

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("windows", done, total)

    result = perplexity(
        score,
        ids,
        window,
        max_windows=max_windows,
        start=tokenizer.start,
        progress=tell,
    )
    return Evaluation(result, bits_per_byte(result, ids, window, max_windows, tokenizer))


def bits_per_byte(
    result: Perplexity,
    ids: NDArray[np.int64],
    window: int,
    max_windows: int | None,
    tokenizer: TextTokenizer,
) -> float:
    """Turn a perplexity into bits per byte of the text in its windows.

    A document's end counts as one byte. Characters that a window's edge cuts count as three.
    """
    starts = window_starts(len(ids), window, max_windows)
    windows = [[int(i) for i in ids[at : at + window]] for at in starts]
    texts = tokenizer.decode_batch(windows)
    ends = sum(row.count(tokenizer.separator) for row in windows)
    size_bytes = sum(len(text.encode()) for text in texts) + ends
    return log(result.value) / log(2) * result.tokens / max(1, size_bytes)
