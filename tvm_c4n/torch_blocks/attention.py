"""Attention in torch, over whole windows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.model.blocks import Attention
from tvm_c4n.torch_blocks.path import Ops, Path, Stop, scaled


def attention(
    block: Attention, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one block. What is no longer needed is let go of: windows are large."""
    q = yield Stop("q_proj", scaled(block, "q_proj", normed))
    k = yield Stop("k_proj", scaled(block, "k_proj", normed))
    v = yield Stop("v_proj", scaled(block, "v_proj", normed))
    del normed
    heads = (x.unflatten(-1, (-1, block.head_dim)).transpose(1, 2) for x in (q, k, v))  # b k t p
    q, k, v = heads
    if block.theta is not None:
        q, k = (_rotated(x, block.theta) for x in (q, k))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=block.scale, enable_gqa=True)
    del q, k, v
    return (yield Stop("o_proj", y.transpose(1, 2).flatten(-2), hidden))


def _rotated(x: Tensor, theta: float) -> Tensor:
    """Rotate the halves of each head as pairs, by the places of the tokens: (b, k, t, p)."""
    exponents = torch.arange(0, x.shape[-1], 2, device=x.device).float() / x.shape[-1]
    places = torch.arange(x.shape[2], device=x.device).float()
    angles = torch.outer(places, 1 / theta**exponents)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    low, high = x.chunk(2, -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)
