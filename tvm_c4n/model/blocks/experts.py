"""A mixture of experts: gated MLPs of which a router chooses some for each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes


@dataclass(frozen=True)
class Experts(Block):
    """``sum over the chosen e of share_e * down_e(silu(gate_e(u)) * up_e(u))``.

    The chosen are those with the highest of the router's logits; their shares are the softmax over
    the logits of the chosen alone. The router is dense in all that follows: an error there chooses
    other experts. The matrices of all experts lie below each other in one weight for gate, one for
    up and one for down, so that each has one n and one dtype (docs/decisions/experts.md).

    Attributes
    ----------
    experts, chosen : int
        How many there are, and how many a token is given to.
    width : int
        Channels between an expert's projections.
    router, gate, up, down : str
        The tensors of their weights, without the prefix.
    """

    kind: ClassVar[str] = "experts"
    experts: int
    chosen: int
    width: int
    router: str
    gate: str
    up: str
    down: str

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, inner = self.hidden, self.experts * self.width
        return {
            self.router: axes(self.experts, hidden),
            self.gate: axes(inner, hidden),
            self.up: axes(inner, hidden),
            self.down: axes((hidden,) * self.experts, Segment("", self.width)),
        }

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""
        names = {"expert_gate": self.gate, "expert_up": self.up, "expert_down": self.down}
        return tuple(
            Projection(name, self.prefix + weight, experts=self.experts, chosen=self.chosen)
            for name, weight in names.items()
        )
