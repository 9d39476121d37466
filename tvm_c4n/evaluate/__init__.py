"""How good a model still is: perplexity."""

from tvm_c4n.evaluate.folder import Evaluation, engine_of, evaluate_text
from tvm_c4n.evaluate.perplexity import Perplexity, perplexity
from tvm_c4n.model.text import load_text_ids

__all__ = [
    "Evaluation",
    "Perplexity",
    "engine_of",
    "evaluate_text",
    "load_text_ids",
    "perplexity",
]
