"""LFM2, whole: against transformers."""

import re
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
from transformers import Lfm2Config

import schedules
from relay_passes.pipeline import c4n_pipeline
from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n._tvm import name_of
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.model.states import State
from tvm_c4n.ops.isa import PORTABLE

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 72,
    "block_multiple_of": 16,
    "max_position_embeddings": 330,
    "initializer_range": 0.2,
}
MIXED = ["conv", "full_attention"]


class TestLfm2(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "tied": Lfm2Config(**SIZES, layer_types=MIXED),
        "biases, four taps, a width that stays": Lfm2Config(
            **SIZES,
            layer_types=MIXED[::-1],
            conv_bias=True,
            conv_L_cache=4,
            block_auto_adjust_ff_dim=False,
            tie_word_embeddings=False,
        ),
    }


def described(**change):
    return describe_model({**Lfm2Config(**SIZES, layer_types=MIXED).to_dict(), **change})


def test_only_the_last_inputs_of_a_convolution_are_kept():
    assert described().states() == (
        State("conv", (1, 2, 32)),
        State("keys", (1, 2, 5, 8, 64)),
        State("values", (1, 2, 5, 64, 8)),
        State("position", (1,), "int32", shared=True),
    )
    assert described(layer_types=["conv", "conv"]).context is None


def test_channels_of_a_convolution_have_one_order_in_both_projections():
    (mixer, _), (attention, _) = (layer.blocks for layer in described().layers)
    tensors = mixer.tensors()
    assert [s.label for s in tensors["in_proj.weight"].axes[0]] == ["inner"] * 3
    assert [s.label for s in tensors["out_proj.weight"].axes[1]] == ["inner"]
    assert attention.projections()[3].weight == "model.layers.1.self_attn.out_proj.weight"
    assert described().projection_names() == [
        "in_proj",
        "out_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    ]


def test_layers_of_one_kind_are_one_kernel_of_a_step():
    config = described(num_hidden_layers=4, layer_types=["conv"] * 3 + ["full_attention"])
    shapes, rng = config.tensor_shapes().items(), np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes}
    mod = build_model(config, ArrayCheckpoint({}, tensors), dtype="float32")
    for name in ("prefill", "score"):
        del mod[name]
    rolling = c4n_pipeline(PORTABLE.lanes, partial(schedules.choose, isa=PORTABLE), lift=False)
    found = rolling.until("legalize")(mod)
    kernels = {name_of(g): f.attrs.get("c4n.region") for g, f in found.functions_items() if f.attrs}
    assert kernels["layers"] == "rms_norm linear conv1d linear rms_norm linear linear swiglu linear"
    assert "linear linear linear rms_norm rms_norm attention linear" in str(kernels)


@pytest.mark.parametrize(
    ("change", "width"),
    [
        ({}, 48),
        ({"block_ff_dim": 100}, 80),  # 66 is no multiple of 16
        ({"block_ffn_dim_multiplier": 1.5}, 80),
        ({"block_auto_adjust_ff_dim": False, "block_ff_dim": 100}, 100),
    ],
)
def test_the_width_of_the_mlp_is_that_of_transformers(change, width):
    mlp = list(described(**change).layers[0].blocks)[1]
    assert mlp.width == width
    theirs = Lfm2Config(**{**SIZES, **change}, layer_types=MIXED)
    from transformers.models.lfm2.modeling_lfm2 import Lfm2MLP

    assert Lfm2MLP(theirs).w1.out_features == width


def test_fields_of_old_files_mean_the_same():
    old = {"layer_types": None, "full_attn_idxs": [1], "tie_embedding": True, "block_ff_dim": 72}
    old |= {"intermediate_size": None, "rope_parameters": None, "rope_theta": 1000000.0}
    assert described(**old) == described()
    assert described(**old, tie_word_embeddings=False) == described()
    assert described(**{**old, "full_attn_idxs": None}).sizes["attention_layers"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_types": ["conv", "mamba"]}, "layer_types has 'mamba'; only 'conv' or"),
        ({"layer_types": ["conv", ["conv"]]}, "layer_types has ['conv']; only 'conv' or"),
        ({"layer_types": None, "full_attn_idxs": [2]}, "full_attn_idxs=[2]: is no list of 0..1"),
        ({"layer_types": None, "full_attn_idxs": 1}, "full_attn_idxs=1: is no list of 0..1"),
        ({"block_multiple_of": 1 << 18, "block_ffn_dim_multiplier": 1e5}, "the MLP's width"),
        ({"intermediate_size": None}, "config.json lacks intermediate_size"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'; only 'default' is"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        described(**change)
