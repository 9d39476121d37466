"""Windows are drawn from the seed."""

import numpy as np
import pytest

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.calibration.windows import draw_windows


def test_windows_start_with_the_separator_and_are_pieces_of_the_text(small_model, words):
    tokenizer = load_tokenizer(small_model)
    recipe = Recipe(samples=10, sample_tokens=32, seed=4)
    windows = draw_windows(tokenizer, recipe, words)
    assert windows.shape == (10, 32)
    assert (windows[:, 0] == 0).all()
    text = load_text_ids(words, tokenizer)
    pieces = np.lib.stride_tricks.sliding_window_view(text, 31)
    starts = [int(np.flatnonzero((pieces == row[1:]).all(1))[0]) for row in windows]
    assert all(b - a >= 31 for a, b in zip(sorted(starts), sorted(starts)[1:], strict=False))


def test_the_seed_decides(small_model, words):
    tokenizer = load_tokenizer(small_model)

    def draw(seed):
        recipe = Recipe(samples=8, sample_tokens=16, seed=seed)
        return draw_windows(tokenizer, recipe, words)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_too_little_text_says_what_would_do(small_model, words, tmp_path):
    tokenizer = load_tokenizer(small_model)
    with pytest.raises(RecipeError, match=r"4040 tokens are too few for 128 .* at most 15"):
        draw_windows(tokenizer, Recipe(), words)
    short = tmp_path / "short.txt"
    short.write_text("w1 w2")
    few = Recipe(samples=4)
    assert len(draw_windows(tokenizer, few, words, more=11)) == 15
    said = (
        "for 4 windows of 256 and 12 more to measure on; give more text or set samples to at most 3"
    )
    with pytest.raises(RecipeError, match=said):
        draw_windows(tokenizer, few, words, more=12)
    with pytest.raises(RecipeError, match=r"and 16 more to measure on; give more text$"):
        draw_windows(tokenizer, few, words, more=16)
    with pytest.raises(
        RecipeError, match=r"3 tokens are too few for 1 windows of 8; give more text$"
    ):
        draw_windows(tokenizer, Recipe(samples=1, sample_tokens=8), short)
    short.write_text("\n")
    with pytest.raises(RecipeError, match="holds no text"):
        draw_windows(tokenizer, Recipe(), short)


def test_the_default_recipe_fits_the_embedded_text():
    from tvm_c4n.assets import ROOT

    tokenizer = load_tokenizer(ROOT / "mamba-19m")
    assert draw_windows(tokenizer, Recipe()).shape == (128, Recipe().sample_tokens)
