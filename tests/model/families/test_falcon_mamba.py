"""Falcon-Mamba, whole: against transformers."""

from typing import Any, ClassVar

from transformers import FalconMambaConfig

from tests.families import FamilyTests
from tests.models import VOCABULARY
from tvm_c4n.model.families import describe_model

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "state_size": 4,
    "time_step_rank": 8,
}


class TestFalconMamba(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "plain": FalconMambaConfig(**SIZES),
        "biases, untied": FalconMambaConfig(
            **SIZES, use_bias=True, use_conv_bias=False, tie_word_embeddings=False
        ),
    }


def test_the_norms_behind_x_proj_are_read_from_the_config():
    config = describe_model({**FalconMambaConfig(**SIZES).to_dict(), "mixer_rms_eps": 1e-3})
    (mixer,) = config.layers[0].blocks
    assert mixer.inner_eps == 1e-3
    assert config.final_norm.eps == 1e-5
