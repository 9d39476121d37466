"""The mixer of Mamba-1 (Gu and Dao, 2023) and of Falcon-Mamba."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection, Reordering
from tvm_c4n.model.states import State
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes


@dataclass(frozen=True)
class Mamba1(Block):
    """A selective scan of d_inner channels behind a causal convolution.

    Attributes
    ----------
    d_inner, d_state, d_conv, dt_rank : int
        Lengths of the axes d, n, k and r of `tvm_c4n.model`.
    conv_bias : bool
        Whether the convolution has a bias.
    bias : bool
        Whether in_proj and out_proj have one.
    inner_eps : float, optional
        eps of the weightless RMSNorms of the step, B and C behind x_proj (Falcon-Mamba); without
        it there are none.
    """

    kind: ClassVar[str] = "mamba1"
    d_inner: int
    d_state: int
    d_conv: int
    dt_rank: int
    conv_bias: bool = True
    bias: bool = False
    inner_eps: float | None = None

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, inner = self.hidden, Segment("inner", self.d_inner)
        found = {
            "A_log": axes(inner, self.d_state),
            "D": axes(inner),
            "conv1d.weight": axes(inner, 1, self.d_conv),
            "in_proj.weight": axes((inner, inner), hidden),  # rows of x, then those of the gate
            "x_proj.weight": axes(self.dt_rank + 2 * self.d_state, inner),
            "dt_proj.weight": axes(inner, self.dt_rank),
            "dt_proj.bias": axes(inner),
            "out_proj.weight": axes(hidden, inner),
        }
        if self.conv_bias:
            found["conv1d.bias"] = axes(inner)
        if self.bias:
            found |= {"in_proj.bias": axes((inner, inner)), "out_proj.bias": axes(hidden)}
        return found

    def projections(self) -> tuple[Projection, ...]:
        """Its projections, in the order in which a token passes them; the last one adds to h."""
        prefix, bias = self.prefix, self.bias
        return (
            Projection(
                "in_proj", prefix + "in_proj.weight", prefix + "in_proj.bias" if bias else None
            ),
            # Under 5 % of the weights, and what drives the selection.
            Projection("x_proj", prefix + "x_proj.weight", pruned=False),
            # It decides how long states last. Its bias belongs to the scan, in float32.
            Projection("dt_proj", prefix + "dt_proj.weight", pruned=False, at_least_int8=True),
            Projection(
                "out_proj", prefix + "out_proj.weight", prefix + "out_proj.bias" if bias else None
            ),
        )

    def states(self) -> tuple[State, ...]:
        """Return the last inputs of the convolution, oldest first, and the scan's state."""
        return (
            State("conv", (self.d_conv - 1, self.d_inner)),
            State("ssm", (self.d_state, self.d_inner)),
        )

    def reorderings(self) -> tuple[Reordering, ...]:
        """Every channel of d_inner is scanned by itself."""
        return (Reordering("inner", "out_proj", self.d_inner),)
