"""The gated short convolution of LFM2: no scan, and a state of a few inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection, Reordering
from tvm_c4n.model.states import State
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes


@dataclass(frozen=True)
class ShortConv(Block):
    """``out(C * conv(B * x))`` of B, C and x, in_proj's rows in this order.

    Attributes
    ----------
    width : int
        Taps of the causal convolution over each channel.
    bias : bool
        Whether the convolution and both projections have one.
    """

    kind: ClassVar[str] = "short_conv"
    width: int
    bias: bool = False

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, inner = self.hidden, Segment("inner", self.d_model)
        found = {
            "conv.weight": axes(inner, 1, self.width),
            "in_proj.weight": axes((inner, inner, inner), hidden),
            "out_proj.weight": axes(hidden, inner),
        }
        if self.bias:
            found |= {
                "conv.bias": axes(inner),
                "in_proj.bias": axes((inner, inner, inner)),
                "out_proj.bias": axes(hidden),
            }
        return found

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""
        return tuple(
            Projection(
                name,
                f"{self.prefix}{name}.weight",
                f"{self.prefix}{name}.bias" if self.bias else None,
            )
            for name in ("in_proj", "out_proj")
        )

    def states(self) -> tuple[State, ...]:
        """Return the last inputs of the convolution, oldest first."""
        return (State("conv", (self.width - 1, self.d_model)),)

    def reorderings(self) -> tuple[Reordering, ...]:
        """Every channel is convolved and gated by itself."""
        return (Reordering("inner", "out_proj", self.d_model),)
