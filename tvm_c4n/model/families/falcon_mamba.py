"""``falcon_mamba``: Mamba-1 with weightless norms of the step, B and C (Falcon-Mamba 7B)."""

from __future__ import annotations

from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import mamba
from tvm_c4n.model.families.reader import Fields

MODEL_TYPE = "falcon_mamba"
ARCHITECTURE = "FalconMambaForCausalLM"


def read(fields: Fields) -> ModelConfig:
    """Describe the model of a config.json."""
    return mamba.read(
        fields, model_type=MODEL_TYPE, inner_eps=fields.eps("mixer_rms_eps", default=1e-6)
    )
