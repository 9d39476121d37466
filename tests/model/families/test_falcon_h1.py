"""Falcon-H1, whole: against transformers."""

import re
from typing import Any, ClassVar

import numpy as np
import pytest
from transformers import FalconH1Config

from relay_passes.call_tir import callee_spec
from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n._tvm import relax
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.spec import RmsNormSpec

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "mamba_d_ssm": 64,
    "mamba_n_heads": 4,
    "mamba_d_state": 8,
    "mamba_chunk_size": 16,
    "max_position_embeddings": 330,
    "initializer_range": 0.2,
}
MULTIPLIERS = {
    "lm_head_multiplier": 0.4,
    "embedding_multiplier": 1.7,
    "mlp_multipliers": [0.9, 0.6],
    "key_multiplier": 0.5,
    "attention_in_multiplier": 1.1,
    "attention_out_multiplier": 0.7,
    "ssm_multipliers": [0.8, 0.6, 1.2, 0.9, 0.7],
    "ssm_in_multiplier": 1.3,
    "ssm_out_multiplier": 0.45,
}
BIASES = dict.fromkeys(("attention_bias", "mlp_bias", "mamba_proj_bias", "projectors_bias"), True)


class TestFalconH1(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "multipliers, tied": FalconH1Config(**SIZES, **MULTIPLIERS, tie_word_embeddings=True),
        "norm, two groups": FalconH1Config(
            **SIZES, mamba_rms_norm=True, mamba_norm_before_gate=False, mamba_n_groups=2
        ),
        "biases, multipliers": FalconH1Config(**SIZES, **MULTIPLIERS, **BIASES),
    }


@pytest.mark.slow
class TestFalconH1Together(FamilyTests):
    """What the configurations above have one at a time."""

    CONFIGS: ClassVar[dict[str, Any]] = {
        "multipliers, biases, tied, norm, two groups, no convolution bias": FalconH1Config(
            **SIZES,
            **MULTIPLIERS,
            **BIASES,
            tie_word_embeddings=True,
            mamba_rms_norm=True,
            mamba_norm_before_gate=False,
            mamba_n_groups=2,
            mamba_conv_bias=False,
        ),
    }


def described(**change):
    return describe_model({**FalconH1Config(**SIZES, **MULTIPLIERS).to_dict(), **change})


def test_every_multiplier_has_a_place():
    config = described()
    mixer, attention = config.layers[0].residuals[0].blocks
    mlp = config.layers[0].residuals[1].blocks[0]
    assert config.embedding_scale == pytest.approx(1.7 / 0.45)
    assert config.logits_scale == 0.4
    assert mixer.factors == pytest.approx({"in_proj": 1.04, "bcdt_proj": 0.91})
    assert mixer.tap_factors == pytest.approx((0.75, 1.2 / 0.7, 0.9 / 0.7))
    assert attention.scale == pytest.approx(1.21 * 0.5 / 8**0.5)
    assert attention.factors == pytest.approx({"v_proj": 0.77 / 0.45})
    assert mlp.factors == pytest.approx({"gate_proj": 0.9, "up_proj": 0.6 / 0.45})


def test_each_field_of_biases_has_its_projections():
    of = {
        "mamba_proj_bias": {"in_proj", "bcdt_proj"},
        "projectors_bias": {"out_proj"},
        "attention_bias": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "mlp_bias": {"gate_proj", "up_proj", "down_proj"},
    }
    for field, expected in of.items():
        found = described(**{field: True}).projections(0)
        assert {name for name, projection in found.items() if projection.bias} == expected, field


def test_projections_with_different_multipliers_read_one_norm():
    config, rng = described(), np.random.default_rng(0)
    shapes = config.tensor_shapes().items()
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes}
    mod = build_model(config, ArrayCheckpoint({}, tensors), dtype="float32")
    values = [b.value for block in mod["step"].body.blocks for b in block.bindings]
    specs = [callee_spec(mod, value) for value in values if isinstance(value, relax.Call)]
    norms = sum(isinstance(spec, RmsNormSpec) for spec in specs)
    assert norms == 1 + sum(len(layer.residuals) for layer in config.layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mlp_bias": 1}, "mlp_bias=1: is not true or false"),
        ({"projectors_bias": "no"}, "projectors_bias='no': is not true or false"),
        ({"mamba_rms_norm": True}, "mamba_norm_before_gate is True; only False is supported"),
        ({"ssm_multipliers": [1.0]}, "ssm_multipliers=[1.0]: is no list of 5 numbers"),
        ({"mlp_multipliers": [1.0, None]}, "mlp_multipliers=None: is not a positive number"),
        ({"mamba_d_ssm": 60}, "mamba_n_heads=4 times mamba_d_head=16 is not 60"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        described(**change)
