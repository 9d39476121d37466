"""The MLP of today's language models: SwiGLU (Shazeer 2020), or squared ReLU without a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection, Reordering
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes


@dataclass(frozen=True)
class Mlp(Block):
    """``down(silu(gate(u)) * up(u))``, or without a gate ``down(max(up(u), 0)^2)``.

    Attributes
    ----------
    width : int
        Channels between the projections.
    gate, up, down : str
        The tensors of their weights, without the prefix. There may be no gate.
    bias : bool
        Whether its projections have one.
    """

    kind: ClassVar[str] = "mlp"
    width: int
    gate: str | None = "gate_proj.weight"
    up: str = "up_proj.weight"
    down: str = "down_proj.weight"
    bias: bool = False

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, inner = self.hidden, Segment("inner", self.width)
        gate = {} if self.gate is None else {self.gate: axes(inner, hidden)}
        found = gate | {self.up: axes(inner, hidden), self.down: axes(hidden, inner)}
        if self.bias:
            found |= {_bias_beside(name): TensorSpec(spec.axes[:1]) for name, spec in found.items()}
        return found

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""
        names = {"gate_proj": self.gate, "up_proj": self.up, "down_proj": self.down}
        return tuple(
            Projection(
                name,
                self.prefix + weight,
                self.prefix + _bias_beside(weight) if self.bias else None,
                bias_factor=self.bias_factor(name),
            )
            for name, weight in names.items()
            if weight is not None
        )

    def reorderings(self) -> tuple[Reordering, ...]:
        """Every channel is activated by itself."""
        return (Reordering("inner", "down_proj", self.width),)


def _bias_beside(weight: str) -> str:
    """Return the tensor of the bias that goes with a weight."""
    return weight.removesuffix("weight") + "bias"
