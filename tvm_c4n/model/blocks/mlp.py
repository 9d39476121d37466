"""The gated MLP of today's language models: SwiGLU (Shazeer 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection, Reordering
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes


@dataclass(frozen=True)
class Mlp(Block):
    """``down(silu(gate(u)) * up(u))``.

    Attributes
    ----------
    width : int
        Channels between the projections.
    gate, up, down : str
        The tensors of their weights, without the prefix.
    """

    kind: ClassVar[str] = "mlp"
    width: int
    gate: str = "gate_proj.weight"
    up: str = "up_proj.weight"
    down: str = "down_proj.weight"

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, inner = self.hidden, Segment("inner", self.width)
        return {
            self.gate: axes(inner, hidden),
            self.up: axes(inner, hidden),
            self.down: axes(hidden, inner),
        }

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""
        return (
            Projection("gate_proj", self.prefix + self.gate),
            Projection("up_proj", self.prefix + self.up),
            Projection("down_proj", self.prefix + self.down),
        )

    def reorderings(self) -> tuple[Reordering, ...]:
        """Every channel is gated by itself."""
        return (Reordering("inner", "down_proj", self.width),)
