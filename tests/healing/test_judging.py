"""Texts to judge by: measured whole, named, and long enough."""

import numpy as np
import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.healing.distil import distance
from tvm_c4n.healing.judging import HELD_OUT, Judge
from tvm_c4n.healing.student import Student
from tvm_c4n.healing.tokens import cut_windows, read_tokens
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer

CPU = torch.device("cpu")


@pytest.fixture
def models(pruned, small_model):
    """The student and its teacher."""
    return [
        Student(checkpoint, describe_model(checkpoint.config), CPU)
        for checkpoint in map(open_checkpoint, (pruned, small_model))
    ]


def test_every_text_is_measured_whole_and_the_training_text_first(models, small_model, words):
    tokenizer = load_tokenizer(small_model)
    windows = cut_windows(read_tokens([words], tokenizer), tokenizer, 16)
    judge = Judge({"words": words}, windows[:4], tokenizer, models[1], CPU)
    told = []
    found = judge.measure(models[0], lambda *what: told.append(what))
    assert list(found) == [HELD_OUT, "words"]
    student, teacher = models
    assert found["words"] == distance(student, teacher, windows, CPU)
    assert found[HELD_OUT] == distance(student, teacher, windows[:4], CPU)
    assert told[0] == (f"measuring on {HELD_OUT}", 0, 4)


def test_bad_texts_are_refused(models, small_model, words, tmp_path):
    tokenizer = load_tokenizer(small_model)
    held_out = np.zeros((2, 16), np.uint16)
    with pytest.raises(RecipeError, match="give it another name"):
        Judge({HELD_OUT: words}, held_out, tokenizer, models[1], CPU)
    (tmp_path / "short.txt").write_text("a b")
    with pytest.raises(RecipeError, match="shorter than a window of 16 tokens"):
        Judge({"short": tmp_path / "short.txt"}, held_out, tokenizer, models[1], CPU)
