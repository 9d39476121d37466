"""The gated delta net (Yang, Kautz and Hatamizadeh 2024), the mixer of Qwen3.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection, Reordering
from tvm_c4n.model.states import State
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes

# What is added to the square of the length of a head of queries or keys, ahead of its root.
UNIT_EPS = 1e-6


@dataclass(frozen=True)
class DeltaNet(Block):
    """Heads that each correct a matrix of keys and values, behind a causal convolution.

    Attributes
    ----------
    key_heads, key_dim : int
        Heads of queries and of keys, and channels of each.
    heads, head_dim : int
        Heads of values, a multiple of `key_heads`, and channels of each. Those next to each other
        share a head of queries and keys.
    d_conv : int
        Taps of the convolution.
    norm_eps : float
        eps of the RMSNorm of each head's output.
    """

    kind: ClassVar[str] = "delta_net"
    key_heads: int
    key_dim: int
    heads: int
    head_dim: int
    d_conv: int
    norm_eps: float

    @property
    def keys(self) -> int:
        """Channels of all keys."""
        return self.key_heads * self.key_dim

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, value = self.hidden, Segment("value", self.head_dim)
        values = (value,) * self.heads  # one order for all heads, for the norm's weight is theirs
        qkv = (Segment("", 2 * self.keys), *values)
        return {
            "A_log": axes(self.heads),
            "dt_bias": axes(self.heads),
            "conv1d.weight": axes(qkv, 1, self.d_conv),
            "in_proj_qkv.weight": axes(qkv, hidden),
            "in_proj_z.weight": axes(values, hidden),
            "in_proj_a.weight": axes(self.heads, hidden),
            "in_proj_b.weight": axes(self.heads, hidden),
            "norm.weight": axes(value),
            "out_proj.weight": axes(hidden, values),
        }

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""

        def projection(name: str, kept: bool = False) -> Projection:
            weight = f"{self.prefix}{name}.weight"
            return Projection(name, weight, pruned=not kept, at_least_int8=kept, kept=kept)

        return (
            projection("in_proj_qkv"),
            projection("in_proj_z"),
            # A row for each head: how much of a state stays, and how much of it is corrected.
            projection("in_proj_a", kept=True),
            projection("in_proj_b", kept=True),
            projection("out_proj"),
        )

    def states(self) -> tuple[State, ...]:
        """Return the last inputs of the convolution, oldest first, and each head's matrix."""
        return (
            State("conv_qkv", (self.d_conv - 1, 2 * self.keys + self.heads * self.head_dim)),
            State("delta", (self.heads, self.key_dim, self.head_dim)),
        )

    def reorderings(self) -> tuple[Reordering, ...]:
        """Channels of a head's values may be in any order that all heads share."""
        return (Reordering("value", "out_proj", self.head_dim),)
