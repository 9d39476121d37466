"""A model is opened, checked, planned and tokenised in one place."""

import json

import pytest
import torch

from tests.models import HF, write_model, write_tokenizer
from tvm_c4n.errors import CheckpointError, RecipeError
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.session import Session

RECIPE = Recipe(removed=2, samples=8, sample_tokens=32)


def test_a_session_has_what_pruning_needs(small_model, words):
    session = Session.open(small_model, RECIPE, words)
    assert session.windows.shape == (8, 32)
    assert session.windows.dtype == torch.int64
    assert session.config.n_layer == 2
    assert (session.recipe, session.calibration) == (RECIPE, words)


def test_validation_windows_are_others_of_the_same_text(small_model, words):
    session = Session.open(small_model, RECIPE, words)
    more = session.validation_windows(4)
    assert more.shape == (4, 32)
    seen = {tuple(window.tolist()) for window in session.windows}
    assert not seen & {tuple(window.tolist()) for window in more}
    again = Session.open(small_model, RECIPE, words)
    assert torch.equal(again.validation_windows(4), more)
    with pytest.raises(RecipeError, match="too few"):
        session.validation_windows(1000)


def test_the_packages_own_text_is_the_default():
    session = Session.open("mamba-19m")
    assert session.calibration.name == "calibration.jsonl"
    assert session.recipe == Recipe()
    assert session.windows.shape == (session.recipe.samples, session.recipe.sample_tokens)


def test_a_recipe_that_does_not_fit_is_refused_before_the_text_is_read(small_model, tmp_path):
    recipe = Recipe(removed={"layers.7.out_proj": 2}, samples=8, sample_tokens=32)
    with pytest.raises(RecipeError, match=r"layers\.7"):
        Session.open(small_model, recipe, tmp_path / "no-such-text")


def test_a_model_that_lacks_a_tensor_is_refused(tmp_path, words):
    write_model(tmp_path, HF)
    write_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**HF, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match=r"backbone\.layers\.2\..* is missing"):
        Session.open(tmp_path, RECIPE, words)
