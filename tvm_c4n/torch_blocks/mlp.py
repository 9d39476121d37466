"""The MLP in torch, with a gate or without."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.model.blocks import Mlp
from tvm_c4n.torch_blocks.path import Ops, Path, Stop, scaled


def mlp(
    block: Mlp, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one block. What is no longer needed is let go of: windows are large."""
    gate = None
    if block.gate is not None:
        gate = yield Stop("gate_proj", scaled(block, "gate_proj", normed))
    up = yield Stop("up_proj", scaled(block, "up_proj", normed))
    del normed
    y = F.relu(up).square() if gate is None else F.silu(gate) * up
    del gate, up
    return (yield Stop("down_proj", y, hidden))
