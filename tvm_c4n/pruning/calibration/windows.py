"""Calibration: which tokens the model reads, and what is kept of each projection's inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.assets import CALIBRATION
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.pruning.recipe import Recipe


def draw_windows(
    tokenizer: TextTokenizer, recipe: Recipe, text: Path | None = None, more: int = 0
) -> NDArray[np.int64]:
    """Draw the calibration windows of a recipe.

    The text, tokenised as one row, is cut into pieces that do not overlap, beginning at an offset
    that the seed draws; the seed also draws the pieces. Each window is the token that starts
    a text and one piece.

    Parameters
    ----------
    tokenizer : TextTokenizer
        The model's.
    recipe : Recipe
        ``samples``, ``repair``, ``sample_tokens`` and ``seed``.
    text : Path, optional
        .jsonl with a "text" per line, or plain text; the text that comes with the package if None.
    more : int
        Windows beyond those of the recipe, of other pieces, to measure on.

    Returns
    -------
    (max(samples, repair) + more, sample_tokens) int64

    Raises
    ------
    RecipeError
        The text cannot be read or is too short.
    """
    source = CALIBRATION if text is None else Path(text)
    ids = load_text_ids(source, tokenizer)
    piece = recipe.sample_tokens - 1
    pieces = len(ids) // piece
    drawn = max(recipe.samples, recipe.repair)
    count = drawn + more
    if pieces < count:
        measured = f" and {more} more to measure on" if more else ""
        name = "samples" if drawn == recipe.samples else "repair"
        fewer = f" or set {name} to at most {pieces - more}" if pieces > more else ""
        raise RecipeError(
            f"{source}: {len(ids)} tokens are too few for {drawn} windows of "
            f"{recipe.sample_tokens}{measured}; give more text{fewer}"
        )
    generator = np.random.default_rng(recipe.seed)
    offset = int(generator.integers(len(ids) - pieces * piece + 1))
    chosen = generator.permutation(pieces)[:count]
    starts = offset + chosen * piece
    windows = ids[starts[:, None] + np.arange(piece)]
    start = np.full((len(windows), 1), tokenizer.start, dtype=np.int64)
    return np.concatenate([start, windows], axis=1)
