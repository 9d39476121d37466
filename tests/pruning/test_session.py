"""A session opens, checks and tokenises once."""

import numpy as np
import pytest

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.pruning import Budget, Recipe, prune
from tvm_c4n.pruning.session import Session

RECIPE = Recipe(dtype="int8", samples=8, sample_tokens=32, scale_group=32)


@pytest.mark.parametrize("budget", [None, Budget("sparsity", 0.3)])
def test_a_run_opens_its_model_once(small_model, words, tmp_path, monkeypatch, budget):
    opened = []
    original = Session.open.__func__

    def count(cls, *args):
        opened.append(args[0])
        return original(cls, *args)

    monkeypatch.setattr(Session, "open", classmethod(count))
    monkeypatch.setattr(
        "tvm_c4n.pruning.session.load_tokenizer",
        _once("tokenizer", load_tokenizer),
    )
    prune(small_model, tmp_path / "out", RECIPE, budget=budget, calibration=words)
    assert opened == [small_model]


def _once(what, function):
    calls = []

    def call(*args):
        assert not calls, f"{what} was loaded before"
        calls.append(args)
        return function(*args)

    return call


def test_validation_windows_are_not_calibrated_with(small_model, words):
    session = Session.open(small_model, RECIPE, words)
    validation = session.validation_windows(4)
    assert validation.shape == (4, 32)
    both = np.concatenate([session.windows, validation])
    assert len(np.unique(both, axis=0)) == 12


def test_a_recipe_that_does_not_fit_is_refused_before_the_text_is_read(small_model, tmp_path):
    recipe = Recipe(removed={"layers.9.in_proj": 1})
    with pytest.raises(RecipeError, match=r"layers\.9"):
        Session.open(small_model, recipe, tmp_path / "missing.txt")


@pytest.mark.parametrize(("repair", "more"), [(0, 0), (5, 0), (11, 3)])
def test_nothing_is_trained_on_that_is_measured_on(small_model, words, repair, more):
    recipe = RECIPE.model_copy(update={"repair": repair})
    session = Session.open(small_model, recipe, words)
    assert (len(session.windows), len(session.more)) == (8, more)
    kept = session.validation_windows(4)
    every = np.concatenate([session.windows, session.more, kept])
    assert len(np.unique(every, axis=0)) == 8 + more + 4
