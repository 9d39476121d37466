"""Sensitivities: how a loss is put together, and what is measured on the small model."""

import json

import pytest
import torch

from tests.models import EXPERTS, random_tensors
from tests.sensitivities import added
from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.sensitivity import Sensitivity, measure
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream
from tvm_c4n.pruning.calibration.windows import draw_windows
from tvm_c4n.pruning.method.matrix import prune_matrix
from tvm_c4n.pruning.recipe import Choice

RECIPE = Recipe(dtype="int8", samples=12, sample_tokens=48, scale_group=32)
ONE = added((0.0, 0.01, 0.1, 0.5), 0.001, 0.02)


def test_experts_that_differ_lose_what_each_loses():
    """Beyond that, they lose what rounding does where all have the usual n."""
    own = ((0.0, 0.01, 0.02, 0.3), (0.0, 0.02, 0.08, 0.2))
    both = added((0.0, 0.03, 0.1, 0.5), 0.001, 0.02, own)
    assert both.loss(Choice(2, "int4")) == pytest.approx(0.1 + 0.5 * 0.02)
    assert both.loss(Choice.of((2, 1), "int4")) == pytest.approx(0.02 + 0.02 + 0.5 * 0.02)


def test_a_sensitivity_survives_json():
    assert Sensitivity.from_json(json.loads(json.dumps(ONE.as_json()))) == ONE


def sensitivities(folder, words):
    """Those of a model of two layers, and what was noted meanwhile."""
    checkpoint = open_checkpoint(folder)
    config = describe_model(checkpoint.config)
    windows = torch.from_numpy(draw_windows(load_tokenizer(folder), RECIPE, words))
    choices = Budget("size", 1e6).choices(config, RECIPE)
    seen = []
    return config, measure(checkpoint, config, RECIPE, choices, windows, seen.append), seen


@pytest.fixture(scope="module")
def measured(small_model, words):
    return sensitivities(small_model, words)


def test_every_weight_is_measured_layer_by_layer(measured):
    config, found, seen = measured
    assert seen == ["layer 0 sensitivity", "layer 1 sensitivity"]
    assert next(iter(found)) == "backbone.embeddings.weight"
    assert len(found) == 1 + 4 * config.n_layer


def test_losses_grow_with_n_and_with_fewer_bits(measured):
    config, found, _ = measured
    for name in config.weights()[1:]:
        losses = found[name].losses
        dtypes = [d for d in ("int8", "int4", "int3", "int2") if (0, d) in losses]
        for few in ("float16", *dtypes[:2]):  # to int2 a weight less may lose less
            assert 0 <= losses[0, few] < losses[1, few] < losses[2, few] < losses[3, few]
        for n in range(4):
            ordered = [losses[n, dtype] for dtype in ("float16", *dtypes)]
            assert ordered == sorted(ordered) and ordered[0] < ordered[1]


@pytest.mark.parametrize("choice", [Choice(1, "int2"), Choice(2, "int3"), Choice(3, "float16")])
def test_a_pair_of_n_and_bits_loses_by_the_error_that_it_makes(
    measured, small_model, words, choice
):
    """Not by the error of removal and that of rounding all weights: their sum is another."""
    config, found, _ = measured
    checkpoint = open_checkpoint(small_model)
    windows = torch.from_numpy(draw_windows(load_tokenizer(small_model), RECIPE, words))
    layer = Layer.load(checkpoint, config, 0)
    stream = Stream(torch.from_numpy(checkpoint.dense(config.embeddings))[windows])
    stream.enter(layer)
    weight, inputs = layer.projections["in_proj"], gram([stream.inputs])
    errors = [
        prune_matrix(weight, inputs, one, scale_group=RECIPE.scale_group).output_error
        for one in (choice, Choice(0, "int4"))
    ]
    losses = found[config.projection(0, "in_proj")]
    wanted = errors[0] / errors[1]
    assert losses.loss(choice) / losses.loss(Choice(0, "int4")) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_experts_are_measured_together():
    """A projection of all experts of a layer has one loss, of the pruning that each has."""
    config = describe_model(EXPERTS)
    checkpoint = ArrayCheckpoint(EXPERTS, random_tensors(config))
    windows = torch.randint(0, config.vocab_size, (4, 32), generator=torch.Generator())
    choices = Budget("size", 1e6).choices(config, RECIPE)
    found = measure(checkpoint, config, RECIPE, choices, windows, lambda _: None)
    experts = [p.weight for p in config.projections(0).values() if p.experts]
    assert len(experts) == 3
    for name in experts:
        losses = found[name].losses
        assert 0 == losses[0, "float16"] < losses[1, "float16"] < losses[2, "float16"]
        assert 0 < losses[0, "int4"] < losses[1, "int4"] and losses[0, "int2"] < losses[1, "int2"]
