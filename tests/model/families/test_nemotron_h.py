"""Nemotron-H, whole: against transformers."""

import re
from typing import Any, ClassVar

import pytest
from transformers import NemotronHConfig

from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "intermediate_size": 48,
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "ssm_state_size": 8,
    "n_groups": 2,
    "chunk_size": 16,
    "max_position_embeddings": 330,
    "initializer_range": 0.2,
}
KINDS = ["linear_attention", "mlp", "full_attention"]


class TestNemotronH(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "each kind of layer": NemotronHConfig(**SIZES, layers_block_type=KINDS),
        "biases, eight groups": NemotronHConfig(
            **{**SIZES, "mamba_num_heads": 8, "n_groups": 8},
            layers_block_type=["mlp", "full_attention", "linear_attention"],
            use_bias=True,
            mlp_bias=True,
            use_conv_bias=False,
            tie_word_embeddings=True,  # of no effect in transformers
        ),
    }


def described(**change):
    config = NemotronHConfig(**SIZES, layers_block_type=KINDS).to_dict()
    config.pop("num_hidden_layers", None)
    return describe_model({**config, **change})


def test_layers_of_one_block_have_the_projections_of_it():
    config = described()
    names = [list(config.projections(index)) for index in range(3)]
    assert names == [
        ["in_proj", "bcdt_proj", "out_proj"],
        ["up_proj", "down_proj"],
        ["q_proj", "k_proj", "v_proj", "o_proj"],
    ]
    assert config.projection(1, "up_proj") == "backbone.layers.1.mixer.up_proj.weight"
    (mixer,) = config.layers[0].blocks
    assert mixer.limits == (0.001, float("inf"))


@pytest.mark.parametrize(
    "change",
    [
        {"layers_block_type": ["mamba", "mlp", "attention"]},
        {"layers_block_type": None, "layer_types": KINDS, "num_hidden_layers": 3},
        {"layers_block_type": None, "hybrid_override_pattern": "M-*"},
    ],
)
def test_words_and_letters_of_old_files_mean_the_same(change):
    assert described(**change) == described()


def test_a_file_that_names_no_head_size_means_that_of_transformers():
    (attention,) = described(head_dim=None).layers[2].blocks
    assert attention.head_dim == 128


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers_block_type": ["moe"]}, "are not supported in nemotron_h: a mixture of experts"),
        (
            {"layers_block_type": None, "hybrid_override_pattern": "ME*"},
            "layers of experts (words 'moe', letters 'E') are not supported in nemotron_h",
        ),
        (
            {"layers_block_type": None, "hybrid_override_pattern": "MX"},
            "hybrid_override_pattern has 'X'; only 'M' or '*' or '-' or 'E' is supported",
        ),
        ({"layers_block_type": 3}, "layers_block_type is no list of layers"),
        ({"num_hidden_layers": 4}, "layers_block_type is no list of 4 layers"),
        ({"layers_block_type": None}, "config.json lacks layers_block_type, or hybrid_override"),
        ({"mlp_hidden_act": "silu"}, "mlp_hidden_act is 'silu'; only 'relu2' is supported"),
        ({"attention_bias": True}, "attention_bias is True; only False is supported"),
        ({"n_groups": 3}, "mamba_num_heads=4 is no multiple of n_groups=3"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        described(**change)
