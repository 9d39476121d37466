"""The gated delta net in torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.model.blocks import DeltaNet
from tvm_c4n.torch_blocks.path import Delta, Ops, Path, Stop


def delta_net(
    block: DeltaNet, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one mixer. What is no longer needed is let go of: windows are large."""
    qkv = ops.conv((yield Stop("in_proj_qkv", normed)), tensors["conv1d.weight"], None)
    z = yield Stop("in_proj_z", normed)
    a = yield Stop("in_proj_a", normed)
    b = yield Stop("in_proj_b", normed)
    del normed
    delta = Delta(tensors["A_log"], tensors["dt_bias"], block.key_heads, block.key_dim)
    y = ops.delta_rule(qkv, a, b, delta)
    del qkv, a, b
    y = ops.rms_norm(y, tensors["norm.weight"], block.norm_eps).flatten(-2)
    return (yield Stop("out_proj", y * F.silu(z), hidden))
