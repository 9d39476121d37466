"""Embeddings and head in few bits: the head is fitted to what it reads, the rest is to nearest."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models import HF, random_tensors
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.calibration.head import HeadRounder
from tvm_c4n.pruning.calibration.layer import Head, logits
from tvm_c4n.sparsity import from_dense

RECIPE = Recipe(dtype="int8", scale_group=32)


def model(tied):
    """A model whose stream has much more in some channels than in others."""
    hf = {**HF, "tie_word_embeddings": tied}
    config = describe_model(hf)
    tensors = random_tensors(config)
    tensors[config.embeddings] *= np.geomspace(1, 30, config.d_model, dtype=np.float32)
    windows = torch.randint(0, config.vocab_size, (6, 40), generator=torch.Generator())
    return ArrayCheckpoint(hf, tensors), config, windows


def nearest(weight, dtype):
    return from_dense(weight, 0, dtype, scale_group=32).dense()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["int4", "int2"])
def test_a_fitted_head_gives_better_logits(tied, dtype):
    checkpoint, config, windows = model(tied)
    found = HeadRounder(checkpoint, config, RECIPE, windows).rounded(dtype)
    head = Head.load(checkpoint, config)
    inputs = torch.linalg.lstsq(head.weight, logits(checkpoint, windows.numpy()).flatten(0, 1).T)
    read = inputs.solution.T  # what the head reads, from the logits that it gives

    def error(weight):
        return float((read @ (torch.from_numpy(weight) - head.weight).T).square().sum())

    fitted = error(found[config.head].dense())
    assert fitted < 0.8 * error(nearest(checkpoint.dense(config.head), dtype))
    if not tied:
        expected = nearest(checkpoint.dense(config.embeddings), dtype)
        np.testing.assert_array_equal(found[config.embeddings].dense(), expected)


@pytest.mark.parametrize(
    ("dtype", "change"),
    [("int8", {}), ("int4", {"method": "wanda"}), ("int4", {"without": ("error_feedback",)})],
)
def test_otherwise_it_is_rounded_to_nearest(dtype, change):
    checkpoint, config, windows = model(tied=True)
    rounder = HeadRounder(checkpoint, config, RECIPE.model_copy(update=change), windows)
    expected = nearest(checkpoint.dense(config.head), dtype)
    np.testing.assert_array_equal(rounder.rounded(dtype)[config.head].dense(), expected)


def test_rows_are_rounded_by_themselves(monkeypatch):
    checkpoint, config, windows = model(tied=True)
    rounder = HeadRounder(checkpoint, config, RECIPE, windows)
    together = rounder.rounded("int3")[config.head].dense()
    monkeypatch.setattr("tvm_c4n.pruning.calibration.head.ROWS", 40)
    apart = replace(rounder).rounded("int3")[config.head].dense()
    np.testing.assert_allclose(apart, together, atol=1e-6)
