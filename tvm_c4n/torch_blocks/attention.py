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
    q, k, v = (x.unflatten(-1, (-1, block.head_dim)) for x in (q, k, v))
    gate = None
    if block.gated:
        q, gate = q.unflatten(2, (block.heads, 2)).unbind(3)
    if block.head_norms is not None:
        norms = zip((q, k), block.head_norms, strict=True)
        q, k = (ops.rms_norm(x, norm.factors(tensors[norm.weight]), norm.eps) for x, norm in norms)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # b k t p
    if block.theta is not None:
        q, k = (_rotated(x, block.theta, block.rotated) for x in (q, k))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=block.scale, enable_gqa=True)
    del q, k, v
    y = y.transpose(1, 2).flatten(-2)
    if gate is not None:
        y = y * gate.flatten(-2).sigmoid()
        del gate
    return (yield Stop("o_proj", y, hidden))


def _rotated(x: Tensor, theta: float, rotary: int) -> Tensor:
    """Rotate the first channels of each head, halves as pairs, by the places: (b, k, t, p)."""
    exponents = torch.arange(0, rotary, 2, device=x.device).float() / rotary
    places = torch.arange(x.shape[2], device=x.device).float()
    angles = torch.outer(places, 1 / theta**exponents)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    low, high, rest = x.tensor_split([rotary // 2, rotary], -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin, rest], -1)
