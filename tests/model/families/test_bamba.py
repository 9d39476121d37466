"""Bamba, whole: against transformers."""

import re
from typing import Any, ClassVar

import pytest
from transformers import BambaConfig

from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "mamba_n_heads": 4,
    "mamba_d_state": 8,
    "mamba_chunk_size": 16,
    "max_position_embeddings": 330,
    "initializer_range": 0.2,
}


class TestBamba(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "half a head rotated": BambaConfig(**SIZES, attn_layer_indices=[1]),
        "biases, two groups, tied": BambaConfig(
            **SIZES,
            attn_layer_indices=[0],
            attention_bias=True,
            mamba_proj_bias=True,
            mlp_bias=True,
            mamba_n_groups=2,
            tie_word_embeddings=True,
        ),
    }


def described(**change):
    return describe_model({**BambaConfig(**SIZES, attn_layer_indices=[1]).to_dict(), **change})


def test_half_of_a_head_is_rotated_unless_the_file_says_otherwise():
    (attention, _) = described().layers[1].blocks
    assert (attention.head_dim, attention.rotated) == (8, 4)
    (attention, _) = (
        described(rope_parameters={"rope_type": "default", "partial_rotary_factor": 1.0})
        .layers[1]
        .blocks
    )
    assert attention.rotated == 8


@pytest.mark.parametrize("name", ["layer_types", "layers_block_type"])
@pytest.mark.parametrize("words", [["mamba", "attention"], ["linear_attention", "full_attention"]])
def test_a_list_of_words_means_the_same(name, words):
    assert described(**{"attn_layer_indices": None, name: words}) == described()
    assert described(attn_layer_indices=None).context is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mlp_bias": 1}, "mlp_bias=1: is not true or false"),
        ({"attn_layer_indices": [2]}, "attn_layer_indices=[2]: is no list of 0..1"),
        ({"partial_rotary_factor": 0.4, "rope_parameters": None}, "partial_rotary_factor=0.4"),
        ({"mamba_n_heads": 3}, "mamba_n_heads=3 times mamba_d_head"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        described(**change)
