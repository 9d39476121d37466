"""Granite 4.0-H, whole: against transformers."""

import re
from typing import Any, ClassVar

import pytest
from transformers import GraniteMoeHybridConfig

from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.states import State

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 0,
    "shared_intermediate_size": 48,
    "mamba_n_heads": 4,
    "mamba_d_state": 8,
    "mamba_chunk_size": 16,
    "max_position_embeddings": 330,
}
MIXED = ["linear_attention", "full_attention"]
SCALARS = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.3,
    "residual_multiplier": 0.6,
    "logits_scaling": 1.5,
}


class TestGranite(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "tied, scalars": GraniteMoeHybridConfig(
            **SIZES, **SCALARS, layer_types=MIXED, tie_word_embeddings=True
        ),
        "rotated, biases, two groups": GraniteMoeHybridConfig(
            **SIZES,
            layer_types=MIXED[::-1],
            position_embedding_type="rope",
            attention_bias=True,
            mamba_proj_bias=True,
            mamba_n_groups=2,
            initializer_range=0.2,
        ),
    }


@pytest.mark.slow
class TestGraniteTogether(FamilyTests):
    """What the configurations above have one at a time."""

    CONFIGS: ClassVar[dict[str, Any]] = {
        "tied, scalars, biases, two groups": GraniteMoeHybridConfig(
            **SIZES,
            **SCALARS,
            layer_types=MIXED,
            tie_word_embeddings=True,
            attention_bias=True,
            mamba_proj_bias=True,
            mamba_n_groups=2,
            initializer_range=0.2,
        ),
    }


def described(**change):
    config = GraniteMoeHybridConfig(**SIZES, **SCALARS, layer_types=MIXED)
    return describe_model({**config.to_dict(), **change})


def test_the_stream_is_divided_by_the_residual_multiplier():
    config = described()
    assert config.embedding_scale == pytest.approx(5)
    assert config.logits_scale == pytest.approx(2 / 3)
    assert config.final_norm.eps == pytest.approx(1e-6 / 0.36)


def test_rows_of_gate_and_up_are_projections():
    by_name = described().projections(1)
    prefix = "model.layers.1.shared_mlp.input_linear.weight.rows_"
    assert by_name["gate_proj"].weight == prefix + "0_48"
    assert by_name["up_proj"].weight == prefix + "48_96"


def test_the_ring_has_room_for_whole_blocks_of_a_text():
    assert described().context == 320
    assert described(max_position_embeddings=131072).context == 4096
    assert described(layer_types=["mamba", "mamba"]).context is None
    ring = described().states()[3:]
    assert ring == (
        State("keys", (1, 2, 5, 8, 64)),
        State("values", (1, 2, 5, 64, 8)),
        State("position", (1,), "int32", shared=True),
    )


def test_words_of_old_files_mean_the_same():
    assert described(layer_types=["mamba", "attention"]) == described()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_local_experts": 2, "num_experts_per_tok": 3}, "3 is more than num_local_experts=2"),
        ({"num_local_experts": 64, "num_experts_per_tok": 0}, "num_experts_per_tok=0: is not in"),
        ({"num_local_experts": 64, "intermediate_size": None}, "lacks intermediate_size"),
        ({"num_local_experts": -1}, "num_local_experts=-1: is not in 1..1024"),
        ({"layer_types": ["mamba", "swa"]}, "layer_types has 'swa'; only 'linear_attention' or"),
        ({"layer_types": ["mamba"]}, "layer_types is no list of 2 layers"),
        ({"num_key_value_heads": 3}, "is no multiple of num_key_value_heads=3"),
        ({"mamba_n_groups": 3}, "mamba_n_heads=4 is no multiple of mamba_n_groups=3"),
        ({"mamba_d_head": 8}, "mamba_n_heads=4 times mamba_d_head=8 is not 64"),
        ({"max_position_embeddings": 63}, "max_position_embeddings=63: attention takes 64 or more"),
        (
            {"position_embedding_type": "rope", "rope_parameters": {"rope_type": "yarn"}},
            "rope_type is 'yarn'; only 'default' is supported",
        ),
        (
            {"position_embedding_type": "rope", "rope_parameters": {"rope_theta": True}},
            "rope_theta=True: is no number above 1",
        ),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        described(**change)


def test_a_text_longer_than_the_ring_is_refused(hybrid_artifact):
    from tvm_c4n import load

    engine = load(hybrid_artifact)
    engine.prefill([1] * 63)
    last = engine.step(2)
    for read in (lambda: engine.step(2), lambda: engine.prefill([2]), lambda: engine.score([2])):
        with pytest.raises(C4nError, match="the text has 65 tokens: this model reads 64 at most"):
            read()
    engine.reset()
    engine.prefill([1] * 63)
    assert (engine.step(2) == last).all()


@pytest.mark.slow
@pytest.mark.parametrize("context", [64, 8192])
def test_a_context_that_was_chosen_holds_in_the_artifact(context, tmp_path):
    import numpy as np
    import torch

    from tests.families import write_family
    from tvm_c4n import load
    from tvm_c4n.compile.artifact import compile_model
    from tvm_c4n.inspect.summary import summarize
    from tvm_c4n.runtime.artifact import open_artifact

    sizes = {**SIZES, "max_position_embeddings": 16384, "position_embedding_type": "rope"}
    config = GraniteMoeHybridConfig(**sizes, layer_types=MIXED)
    theirs = write_family(tmp_path / "model", config)
    compile_model(tmp_path / "model", tmp_path / "art", dtype="float32", context=context)
    assert open_artifact(tmp_path / "art").manifest.context == context
    assert summarize(tmp_path / "art").config.context == context
    engine = load(tmp_path / "art")
    # More than the context that there is by default, where more fits.
    text = np.random.default_rng(0).integers(0, VOCABULARY, min(context, 4200))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(text)[None], use_cache=False).logits[0].numpy()
    np.testing.assert_allclose(engine.prefill(text[:-1]), expected[-2], atol=1e-4)
    np.testing.assert_allclose(engine.step(int(text[-1])), expected[-1], atol=1e-4)
    over = context + 1 - len(text)
    with pytest.raises(C4nError, match=f"{context + 1} tokens: this model reads {context} at most"):
        engine.prefill([1] * over)
