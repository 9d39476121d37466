"""Qwen3.5's text models, whole: against transformers."""

import re
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
from transformers import Qwen3_5TextConfig

import schedules
from relay_passes.dump_module import count_calls
from relay_passes.layout_report import count_layout
from relay_passes.pipeline import c4n_pipeline
from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n._tvm import relax
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.model.states import State
from tvm_c4n.ops.isa import PORTABLE

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 16,
    "max_position_embeddings": 330,
    # With 0.2 transformers' float32 in the delta rule, whatever the model's dtype, shows.
    "initializer_range": 0.1,
}
MIXED = ["linear_attention", "full_attention"]


class TestQwen(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "tied": Qwen3_5TextConfig(**SIZES, layer_types=MIXED, tie_word_embeddings=True),
        "shared keys, biases": Qwen3_5TextConfig(
            **{**SIZES, "linear_num_value_heads": 6, "linear_value_head_dim": 12},
            layer_types=MIXED[::-1],
            attention_bias=True,
        ),
    }


def described(**change):
    config = Qwen3_5TextConfig(**SIZES, layer_types=MIXED)
    return describe_model({**config.to_dict(), **change})


def test_every_fourth_layer_attends_by_default():
    config = described(layer_types=None, num_hidden_layers=8)
    kinds = [next(layer.blocks).kind for layer in config.layers]
    assert kinds == (["delta_net"] * 3 + ["attention"]) * 2
    some = described(layer_types=None, num_hidden_layers=3, full_attention_interval=2)
    assert [next(layer.blocks).kind for layer in some.layers][1] == "attention"


def test_what_it_carries_from_token_to_token():
    assert described().states() == (
        State("conv_qkv", (1, 3, 64)),
        State("delta", (1, 2, 8, 16)),
        State("keys", (1, 2, 5, 16, 64)),
        State("values", (1, 2, 5, 64, 16)),
        State("position", (1,), "int32", shared=True),
    )
    assert described(layer_types=["linear_attention"] * 2).context is None


def test_what_says_how_long_states_last_stays_dense():
    by_name = described().projections(0)
    assert [n for n, p in by_name.items() if not p.pruned] == ["in_proj_a", "in_proj_b"]
    assert all(by_name[n].kept and by_name[n].at_least_int8 for n in ("in_proj_a", "in_proj_b"))


def test_a_step_is_a_kernel_for_each_run_of_layers_without_layout_ops():
    sizes = {**SIZES, "num_hidden_layers": 8, "linear_num_value_heads": 8}
    config, rng = described(**sizes, layer_types=None), np.random.default_rng(0)
    shapes = config.tensor_shapes().items()
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes}
    mod = build_model(config, ArrayCheckpoint({}, tensors), dtype="float32")
    for name in ("prefill", "score"):
        del mod[name]
    mod = relax.transform.DeadCodeElimination()(mod)
    choose = partial(schedules.choose, isa=PORTABLE)
    mod = c4n_pipeline(PORTABLE.lanes, choose).until("lower")(mod)
    counts = count_calls(mod)
    # Three layers of delta nets, one of attention, and again; the head.
    assert sum(n for name, n in counts.items() if "layers" in name) == 2
    assert sum(n for name, n in counts.items() if "region" in name) == 3
    assert not any(count_layout(mod).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attn_output_gate": False}, "attn_output_gate is False; only True is supported"),
        ({"layer_types": ["linear_attention", "swa"]}, "layer_types has 'swa'; only 'linear_"),
        ({"linear_num_key_heads": 3}, "linear_num_value_heads=2 is no multiple of linear_num_key"),
        ({"linear_num_value_heads": 1 << 12, "linear_value_head_dim": 64}, "more than 262144 chan"),
        (
            {"rope_parameters": {"partial_rotary_factor": 0.2}},
            "heads of 16 channels cannot be rotated by partial_rotary_factor=0.2",
        ),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        described(**change)
