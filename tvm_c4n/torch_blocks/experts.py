"""The mixture of experts in torch, over whole windows."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.model.blocks import Experts
from tvm_c4n.torch_blocks.path import Ops, Path, Stop
from tvm_c4n.torch_blocks.routing import Routing


def experts(
    block: Experts, tensors: Mapping[str, Tensor], ops: Ops, normed: Tensor, hidden: Tensor
) -> Path:
    """Go through one block. What is no longer needed is let go of: windows are large."""
    # In float32, as the operators have it: a rounded logit can choose another expert.
    logits = F.linear(normed.float(), tensors[block.router]).flatten(0, -2)
    routing = Routing.of(logits, block.chosen)
    gate = yield Stop("expert_gate", normed, routing=routing)
    up = yield Stop("expert_up", normed, routing=routing)
    del normed, logits
    y = F.silu(gate) * up
    del gate, up
    return (yield Stop("expert_down", y, hidden, routing))
