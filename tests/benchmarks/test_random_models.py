"""Models with random weights: sizes, formats and a spread that keeps activations in range."""

import math

import numpy as np
import pytest

from benchmarks.random_models import SHAPES, Format, config_of, random_weight
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.recipe import Choice


@pytest.mark.parametrize("text", ["int4-n2", "float16-n0", "int8-n3", "int4-n2-s16"])
def test_a_format_is_read_as_it_is_written(text):
    assert str(Format.parse(text)) == text


def test_what_prune_leaves_dense_stays_dense():
    config = describe_model(config_of("130m"))
    plan = Format("int4", 2).recipe().plan(config)
    assert plan[config.projection(3, "out_proj")] == Choice(2, "int4")
    assert plan[config.projection(3, "dt_proj")] == Choice(0, "int8")
    assert plan[config.head] == Choice(0, "int4")


PARAMETERS = {  # millions, as published; of Mamba without the rounding of their names
    "130m": 129,
    "370m": 372,
    "790m": 793,
    "1.4b": 1372,
    "2.8b": 2768,
    "mamba2-130m": 129,
    "mamba2-1.3b": 1344,
    "granite-4.0-h-350m": 340,
    "granite-4.0-h-tiny": 6939,
    "lfm2.5-350m": 354,
    "qwen3.5-0.8b": 752,
    "falcon-h1-0.5b": 521,
}


def test_a_size_has_the_parameters_that_were_published():
    counts = {}
    for size in SHAPES:
        shapes = describe_model(config_of(size)).tensor_shapes().values()
        counts[size] = round(sum(math.prod(shape) for shape in shapes) / 1e6)
    assert counts == PARAMETERS


@pytest.mark.parametrize("size", ["granite-4.0-h-350m", "falcon-h1-0.5b"])
def test_what_a_state_keeps_stays_dense_and_the_rest_is_pruned(size):
    config = describe_model(config_of(size))
    plan = Format("int4", 2).recipe().plan(config)
    kinds = {name: plan[config.projection(10, name)] for name in config.projections(10)}
    dense = {name for name, choice in kinds.items() if choice.removed == 0}
    assert dense <= {"bcdt_proj"} and kinds["down_proj"] == Choice(2, "int4")
    assert plan[config.head] == Choice(0, "int4")


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4", "int3", "int2"])
@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_products_keep_the_variance_of_their_inputs(dtype, removed):
    rng = np.random.default_rng(0)
    weight = random_weight(rng, (256, 1024), dtype, removed)
    dense = weight.dense()
    assert (dense != 0).mean() == pytest.approx(
        (4 - removed) / 4, abs=0.13
    )  # int4 and int3 have a zero
    y = dense @ rng.standard_normal(1024)
    assert 0.2 < y.var() < 2
