"""Grouped-query attention over a ring of keys and values.

With rotary embeddings or without, with norms of each head's queries and keys or without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tvm_c4n.model.description import Block, Norm, Projection, Reordering
from tvm_c4n.model.states import STATE_BITS, State, StateDType, StateDTypes
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes

# Keys that lie together in the ring: a context is a multiple.
RING_BLOCK = 64


@dataclass(frozen=True)
class Attention(Block):
    """Causal softmax attention; query heads next to each other share a head of keys and values.

    Attributes
    ----------
    heads, kv_heads, head_dim : int
        Heads of queries, those of keys and values, and channels of each.
    context : int
        Tokens that the ring holds, a multiple of `RING_BLOCK`.
    scale : float
        Factor of the scores.
    theta : float, optional
        Base of the rotary embedding; without it positions leave no trace.
    rotary : int, optional
        Channels of a head that are rotated, the first ones, an even number; without it all are.
    head_norms : tuple of Norm, optional
        RMSNorms of every head of queries, and of keys, ahead of the rotation: their weights
        (head_dim,), without the prefix.
    bias : bool
        Whether its projections have one.
    gated : bool
        Whether q_proj gives each head's queries and then as many gates: a head's output is
        multiplied by their sigmoid. Goes with `head_norms`, which take the queries out.
    output : str
        What the tensors of o_proj are called.
    kv_dtype : str
        Of the keys and values in the ring.
    """

    kind: ClassVar[str] = "attention"
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    scale: float
    theta: float | None = None
    bias: bool = False
    rotary: int | None = None
    head_norms: tuple[Norm, Norm] | None = None
    gated: bool = False
    output: str = "o_proj"
    kv_dtype: StateDType = "float32"

    @property
    def rotated(self) -> int:
        """Channels of a head that a rotary embedding turns."""
        return self.head_dim if self.rotary is None else self.rotary

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, query = self.hidden, Segment("", self.head_dim)
        keys = self.kv_heads * self.head_dim
        values = tuple(Segment(f"value{head}", self.head_dim) for head in range(self.kv_heads))
        mixed = tuple(v for v in values for _ in range(self.heads // self.kv_heads))
        # A gate has the channels of what it multiplies.
        queries = tuple(part for v in mixed for part in ((query, v) if self.gated else (query,)))
        found = {
            "q_proj.weight": axes(queries, hidden),
            "k_proj.weight": axes(keys, hidden),
            "v_proj.weight": axes(values, hidden),
            f"{self.output}.weight": axes(hidden, mixed),
        }
        if self.bias:
            found |= {"q_proj.bias": axes(queries), "k_proj.bias": axes(keys)}
            found |= {"v_proj.bias": axes(values), f"{self.output}.bias": axes(hidden)}
        found |= {norm.weight: axes(self.head_dim) for norm in self.head_norms or ()}
        return found

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""
        tensors = {name: name for name in ("q_proj", "k_proj", "v_proj")} | {"o_proj": self.output}
        return tuple(
            Projection(
                name,
                f"{self.prefix}{stored}.weight",
                f"{self.prefix}{stored}.bias" if self.bias else None,
                bias_factor=self.bias_factor(name),
            )
            for name, stored in tensors.items()
        )

    def with_context(self, context: int) -> Attention:
        """Return the block with a ring for so many tokens."""
        return replace(self, context=context)

    def with_state_dtypes(self, dtypes: StateDTypes) -> Attention:
        """Return the block with keys and values of that dtype."""
        return replace(self, kv_dtype=dtypes.kv)

    def states(self) -> tuple[State, ...]:
        """Return the ring, see `tvm_c4n.ops.ring`, and how many tokens were read."""
        outer, dtype = (self.kv_heads, self.context // RING_BLOCK), STATE_BITS[self.kv_dtype]
        return (
            State("keys", (*outer, self.head_dim, RING_BLOCK), dtype),
            State("values", (*outer, RING_BLOCK, self.head_dim), dtype),
            State("position", (1,), "int32", shared=True),
        )

    def reorderings(self) -> tuple[Reordering, ...]:
        """Channels of a head of values are mixed by the same weights: they may be in any order."""
        return tuple(
            Reordering(f"value{head}", "o_proj", self.head_dim) for head in range(self.kv_heads)
        )
