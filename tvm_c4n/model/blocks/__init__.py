"""The kinds of blocks that models are made of."""

from tvm_c4n.model.blocks.mamba1 import Mamba1

__all__ = ["Mamba1"]
