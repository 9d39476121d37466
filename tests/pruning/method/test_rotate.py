"""A model in another basis of the residual stream is the same model, whatever its family."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.models import EXPERTS, HF, HYBRID, random_tensors
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.blocks import Mlp
from tvm_c4n.model.description import Layer
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.tensor_spec import tensor
from tvm_c4n.pruning.method.rotate import Rotated

DELTA = {
    "model_type": "qwen3_5_text", "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2,
    "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4,
    "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "tie_word_embeddings": True, "max_position_embeddings": 64,
}  # fmt: skip
MODELS = {
    "mamba": HF,
    "mamba, untied, with biases": {**HF, "tie_word_embeddings": False, "use_bias": True},
    "mamba2 and attention, with multipliers": {
        **HYBRID, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0,
    },
    "experts": EXPERTS,
    "norms that store their distance from one": DELTA,
}  # fmt: skip


def rotation(width, seed=0):
    mixed = np.random.default_rng(seed).standard_normal((width, width))
    return np.linalg.qr(mixed)[0].astype(np.float32)


def model(content):
    config = describe_model(content)
    tensors = random_tensors(config)
    generator = np.random.default_rng(7)
    for name, spec in config.tensors().items():
        if len(spec.shape) == 1 and ("norm" in name):
            tensors[name] = generator.uniform(0.2, 2, spec.shape).astype(np.float32)
    return ArrayCheckpoint(content, tensors), config


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_model(name):
    source, config = model(MODELS[name])
    turned = Rotated(source, config, rotation(config.d_model))
    ids = np.random.default_rng(1).integers(0, config.vocab_size, 24)
    expected = Reference(config, source.dense).prefill(ids)
    found = Reference(turned.description, turned.dense).prefill(ids)
    # The rotated weights are float32; the sums are float64.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert (turned.description.head_map is not None) == config.tie_embeddings
    assert turned.names() == sorted({*source.names(), *turned.description.unpruned()})
    for tensor_name, shape in turned.description.tensor_shapes().items():
        assert turned.shape(tensor_name) == shape == turned.dense(tensor_name).shape


def test_no_gain_is_left():
    source, config = model(DELTA)
    turned = Rotated(source, config, rotation(32))
    for norm in (config.final_norm, config.layers[0].residuals[0].norm):
        assert np.array_equal(norm.factors(turned.dense(norm.weight)), np.ones(32, np.float32))


@dataclass(frozen=True)
class Gated(Mlp):
    """An MLP with a factor for each channel that it reads: no rotation can be folded into that."""

    def tensors(self):
        return super().tensors() | {"channel_scale": tensor(self.hidden)}


def test_what_treats_channels_one_by_one_is_refused():
    source, config = model(HYBRID)
    mlp = Gated("model.layers.0.odd.", 32, 48)
    residual = replace(config.layers[0].residuals[0], blocks=(mlp,))
    odd = replace(config, layers=(Layer((residual,)), *config.layers[1:]))
    with pytest.raises(RecipeError, match=r"layers\.0\.odd\.channel_scale treats channels"):
        Rotated(source, odd, rotation(32))


def test_a_rotated_model_is_not_rotated_again():
    source, config = model(HF)
    turned = Rotated(source, config, rotation(32))
    with pytest.raises(RecipeError, match="is rotated already; set rotate to false"):
        Rotated(turned, turned.description, rotation(32))
