"""LFM2's gated convolution, as in the slow path of `transformers.Lfm2ForCausalLM`."""

from __future__ import annotations

import numpy as np

from tvm_c4n.model.blocks import ShortConv
from tvm_c4n.model.reference.formulas import Array, causal_conv
from tvm_c4n.model.reference.tensors import States, Tensors


def short_conv(block: ShortConv, tensors: Tensors, states: States, u: Array) -> Array:
    """Run one block: (t, h) -> (t, h); advances its state."""
    b, c, x = np.split(tensors.linear("in_proj", u), 3, axis=1)
    y, states["conv"] = causal_conv(b * x, tensors["conv.weight"], states["conv"])
    if block.bias:
        y = y + tensors["conv.bias"]
    return tensors.linear("out_proj", c * y)
