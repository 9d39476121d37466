"""Models with random weights: sizes, formats and a spread that keeps activations in range."""

import numpy as np
import pytest

from benchmarks.random_models import SIZES, Format, config_of, random_weight
from tvm_c4n.model.families import describe_model


@pytest.mark.parametrize("text", ["int4-n2", "float16-n0", "int8-n3"])
def test_a_format_is_read_as_it_is_written(text):
    assert str(Format.parse(text)) == text


def test_what_prune_leaves_dense_stays_dense():
    config = describe_model(config_of("130m"))
    plan = Format("int4", 2).recipe().plan(config)
    assert plan[config.projection(3, "out_proj")] == (2, "int4")
    assert plan[config.projection(3, "dt_proj")] == (0, "int8")
    assert plan[config.head] == (0, "int4")


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_a_mamba(size):
    config = describe_model(config_of(size))
    assert (config.d_model, config.n_layer) == SIZES[size]
    assert config.sizes["inner"] == 2 * config.d_model


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_products_keep_the_variance_of_their_inputs(dtype, removed):
    rng = np.random.default_rng(0)
    weight = random_weight(rng, (256, 1024), dtype, removed)
    dense = weight.dense()
    assert (dense != 0).mean() == pytest.approx((4 - removed) / 4, abs=0.08)  # int4 has a zero
    y = dense @ rng.standard_normal(1024)
    assert 0.2 < y.var() < 2
