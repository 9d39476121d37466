"""Granite 4.0-H with experts, whole: against transformers."""

from typing import Any, ClassVar

from transformers import GraniteMoeHybridConfig

from tests.families import FamilyTests
from tests.model.families.test_granitemoehybrid import MIXED, SCALARS, SIZES

EXPERTS = {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 64}


class TestGraniteExperts(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "six, two chosen": GraniteMoeHybridConfig(
            **{**SIZES, **EXPERTS}, **SCALARS, layer_types=MIXED, initializer_range=0.2
        ),
        "four, all chosen, narrow": GraniteMoeHybridConfig(
            **{**SIZES, "num_local_experts": 4, "num_experts_per_tok": 4, "intermediate_size": 24},
            layer_types=MIXED[::-1],
            tie_word_embeddings=True,
            initializer_range=0.2,
        ),
    }
