"""Instruments: perplexity, accuracy on tasks, and where a step's time goes."""

from tvm_c4n.evaluate.evaluation import Evaluation, evaluate_text
from tvm_c4n.evaluate.perplexity import Perplexity, perplexity
from tvm_c4n.model.text import load_text_ids

__all__ = [
    "Evaluation",
    "Perplexity",
    "evaluate_text",
    "load_text_ids",
    "perplexity",
]
