"""How good a model still is: perplexity."""

from tvm_c4n.evaluate.perplexity import Perplexity, perplexity
from tvm_c4n.model.text import load_text_ids

__all__ = ["Perplexity", "load_text_ids", "perplexity"]
