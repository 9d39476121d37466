"""The kinds of blocks that models are made of."""

from tvm_c4n.model.blocks.attention import Attention
from tvm_c4n.model.blocks.delta_net import DeltaNet
from tvm_c4n.model.blocks.experts import Experts
from tvm_c4n.model.blocks.mamba1 import Mamba1
from tvm_c4n.model.blocks.mamba2 import Mamba2
from tvm_c4n.model.blocks.mlp import Mlp
from tvm_c4n.model.blocks.short_conv import ShortConv

__all__ = ["Attention", "DeltaNet", "Experts", "Mamba1", "Mamba2", "Mlp", "ShortConv"]
