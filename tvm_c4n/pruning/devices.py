"""Where pruning computes: on the CPU by compiled loops and threads, elsewhere by torch alone."""

from __future__ import annotations

import torch
from torch import Tensor

CPU = torch.device("cpu")
# What to do where the memory of a GPU is too small.
MEMORY_REMEDY = "take fewer samples, another GPU, or --device cpu"


def on_cpu(tensor: Tensor) -> bool:
    """Say whether what is compiled for the CPU can take a tensor."""
    kind: str = tensor.device.type
    return kind == "cpu"
