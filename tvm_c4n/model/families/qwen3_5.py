"""``qwen3_5``: `qwen3_5_text` inside a model that sees: the text model alone is read.

Tensors of the vision tower and of the heads that predict further tokens are ignored.
"""

from __future__ import annotations

from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import qwen3_5_text
from tvm_c4n.model.families.reader import Fields

MODEL_TYPE = "qwen3_5"
ARCHITECTURE = "Qwen3_5ForConditionalGeneration"


def read(fields: Fields) -> ModelConfig:
    """Describe the text model of a config.json."""
    text, tied = fields.get("text_config"), "tie_word_embeddings"
    if not isinstance(text, dict):
        raise CheckpointError("config.json lacks text_config")
    inner = Fields({tied: fields.flag(tied, False), **text}, "config.json: text_config")
    return qwen3_5_text.read(inner, model_type=MODEL_TYPE, root="model.language_model.")
