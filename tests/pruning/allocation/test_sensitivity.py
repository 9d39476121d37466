"""Sensitivities: how a loss is put together, and what is measured on the small model."""

import json

import pytest
import torch

from tests.models import EXPERTS, random_tensors
from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.allocation.sensitivity import Sensitivity, measure
from tvm_c4n.pruning.calibration.windows import draw_windows
from tvm_c4n.pruning.recipe import Choice

RECIPE = Recipe(dtype="int8", samples=12, sample_tokens=48, scale_group=32)
ONE = Sensitivity((0.0, 0.01, 0.1, 0.5), {"int8": 0.001, "int4": 0.02})


def test_rounding_costs_less_where_less_is_left():
    assert ONE.loss(Choice(0, "float16")) == 0
    assert ONE.loss(Choice(0, "int8")) == pytest.approx(0.001)
    assert ONE.loss(Choice(2, "int4")) == pytest.approx(0.1 + 0.5 * 0.02)


def test_a_sensitivity_survives_json():
    assert Sensitivity.from_json(json.loads(json.dumps(ONE.as_json()))) == ONE


@pytest.fixture(scope="module")
def measured(small_model, words):
    checkpoint = open_checkpoint(small_model)
    config = describe_model(checkpoint.config)
    windows = torch.from_numpy(draw_windows(load_tokenizer(small_model), RECIPE, words))
    seen = []
    return config, measure(checkpoint, config, RECIPE, windows, seen.append), seen


def test_every_weight_is_measured_layer_by_layer(measured):
    config, found, seen = measured
    assert seen == ["layer 0 sensitivity", "layer 1 sensitivity"]
    assert next(iter(found)) == "backbone.embeddings.weight"
    assert len(found) == 1 + 4 * config.n_layer


def test_losses_grow_with_n_and_with_fewer_bits(measured):
    _, found, _ = measured
    for sensitivity in found.values():
        assert list(sensitivity.removal) == sorted(sensitivity.removal)
        assert 0 < sensitivity.rounding["int8"] < sensitivity.rounding["int4"]


@pytest.mark.slow
def test_experts_are_measured_together():
    """A projection of all experts of a layer has one loss, of the pruning that each has."""
    config = describe_model(EXPERTS)
    checkpoint = ArrayCheckpoint(EXPERTS, random_tensors(config))
    windows = torch.randint(0, config.vocab_size, (4, 32), generator=torch.Generator())
    found = measure(checkpoint, config, RECIPE, windows, lambda _: None)
    experts = [p.weight for p in config.projections(0).values() if p.experts]
    assert len(experts) == 3
    for name in experts:
        assert list(found[name].removal) == sorted(found[name].removal)
        assert found[name].removal[1] > 0 and found[name].rounding["int4"] > 0
