"""The kinds of blocks that models are made of."""

from tvm_c4n.model.blocks.mamba1 import Mamba1
from tvm_c4n.model.blocks.mamba2 import Mamba2

__all__ = ["Mamba1", "Mamba2"]
