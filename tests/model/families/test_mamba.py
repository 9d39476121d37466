"""Mamba-1 with what Hugging Face's configurations allow beyond the embedded model's."""

from typing import Any, ClassVar

from transformers import MambaConfig

from tests.families import FamilyTests
from tests.models import VOCABULARY

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "state_size": 4,
    "time_step_rank": 8,
}


class TestMamba(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "biases": MambaConfig(**SIZES, use_bias=True, tie_word_embeddings=False),
        "another inner size, no convolution bias": MambaConfig(
            **{**SIZES, "expand": 3, "conv_kernel": 3}, use_conv_bias=False
        ),
    }
