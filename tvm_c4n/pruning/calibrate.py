"""Calibration: which tokens the model reads, and what is kept of each projection's inputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from tvm_c4n.assets import CALIBRATION
from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.model.text import load_text_ids, separator_id
from tvm_c4n.pruning.recipe import Recipe

# Tokens per product: float32 sums of a few thousand terms keep enough digits; the sum over
# batches is taken in float64.
BATCH_TOKENS = 8192


def draw_windows(
    tokenizer: Tokenizer, recipe: Recipe, text: Path | None = None
) -> NDArray[np.int64]:
    """Draw the calibration windows of a recipe.

    The text, tokenised as one row, is cut into pieces that do not overlap, beginning at an offset
    that the seed draws; the seed also draws the pieces. Each window is the separator token and one
    piece.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The model's.
    recipe : Recipe
        ``samples``, ``sample_tokens`` and ``seed``.
    text : Path, optional
        .jsonl with a "text" per line, or plain text; the text that comes with the package if None.

    Returns
    -------
    (samples, sample_tokens) int64

    Raises
    ------
    RecipeError
        The text cannot be read or is too short.
    """
    source = CALIBRATION if text is None else Path(text)
    ids = load_text_ids(source, tokenizer)
    piece = recipe.sample_tokens - 1
    pieces = len(ids) // piece
    if pieces < recipe.samples:
        raise RecipeError(
            f"{source}: {len(ids)} tokens are too few for {recipe.samples} windows of "
            f"{recipe.sample_tokens}; give more text or set samples to at most {pieces}"
        )
    generator = np.random.default_rng(recipe.seed)
    offset = int(generator.integers(len(ids) - pieces * piece + 1))
    chosen = generator.permutation(pieces)[: recipe.samples]
    starts = offset + chosen * piece
    windows = ids[starts[:, None] + np.arange(piece)]
    start = np.full((len(windows), 1), separator_id(tokenizer), dtype=np.int64)
    return np.concatenate([start, windows], axis=1)


def product(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum ``A^T B`` over all tokens of pairs of activations.

    Parameters
    ----------
    pairs : iterable of ((b, t, rows), (b, t, cols)) float32

    Returns
    -------
    (rows, cols) float32
        Summed over batches of `BATCH_TOKENS` tokens in float64.

    Raises
    ------
    C4nError
        An activation is not finite.
    """
    total = torch.zeros((), dtype=torch.float64)
    for left, right in pairs:
        parts = (side.flatten(0, 1).split(BATCH_TOKENS) for side in (left, right))
        for a, b in zip(*parts, strict=True):
            total = total + (a.T @ b).double()
    result = total.float()
    if not bool(torch.isfinite(result).all()):
        raise C4nError("the model's activations are not finite on the calibration text")
    return result


def gram(inputs: Iterable[Tensor]) -> Tensor:
    """``X^T X`` of a projection's inputs, batches of (b, t, cols); see `product`. Symmetric."""
    result = product((batch, batch) for batch in inputs)
    return (result + result.T) / 2


def damped(statistics: Tensor, damp: float) -> Tensor:
    """``H + damp * mean(diag H) * I``; the identity where all inputs were zero."""
    level = float(statistics.diagonal().mean())
    if level <= 0:
        return torch.eye(len(statistics), dtype=statistics.dtype)
    return statistics + damp * level * torch.eye(len(statistics), dtype=statistics.dtype)
