"""Mamba-2, whole: against transformers."""

import re
from typing import Any, ClassVar

import pytest
from transformers import Mamba2Config

from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_heads": 4,
    "head_dim": 16,
    "state_size": 8,
    "chunk_size": 16,
}


class TestMamba2(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "two groups": Mamba2Config(**SIZES, n_groups=2),
        "biases, tied, one group": Mamba2Config(
            **SIZES, n_groups=1, use_bias=True, use_conv_bias=False, tie_word_embeddings=True
        ),
    }


@pytest.mark.slow
class TestMamba2Together(FamilyTests):
    """What the configurations above have one at a time."""

    CONFIGS: ClassVar[dict[str, Any]] = {
        "biases, tied, two groups, limits": Mamba2Config(
            **SIZES,
            n_groups=2,
            use_bias=True,
            tie_word_embeddings=True,
            time_step_limit=(0.02, 0.2),
        ),
    }


def test_rows_of_b_c_and_dt_stay_dense():
    config = describe_model(Mamba2Config(**SIZES, n_groups=2).to_dict())
    by_name = config.projections(1)
    prefix = "backbone.layers.1.mixer.in_proj.weight.rows_"
    assert by_name["in_proj"].weight == prefix + "0_128"
    assert by_name["bcdt_proj"].weight == prefix + "128_164"
    assert not by_name["bcdt_proj"].pruned
    assert config.kinds() == {
        "backbone.embeddings.weight": "embeddings",
        "lm_head.weight": "lm_head",
        **{
            f"backbone.layers.{i}.mixer.{tensor}": kind
            for i in range(2)
            for tensor, kind in (
                ("in_proj.weight.rows_0_128", "in_proj"),
                ("in_proj.weight.rows_128_164", "bcdt_proj"),
                ("out_proj.weight", "out_proj"),
            )
        },
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "num_heads=5 is no multiple of n_groups=2"),
        ({"head_dim": 8}, "num_heads=4 times head_dim=8 is not expand=2 times hidden_size=32"),
        ({"time_step_limit": [1.0]}, "time_step_limit=[1.0]: is no pair of ascending numbers"),
        ({"time_step_limit": [1.0, 0.5]}, "is no pair of ascending numbers"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        describe_model({**Mamba2Config(**SIZES, n_groups=2).to_dict(), **change})
