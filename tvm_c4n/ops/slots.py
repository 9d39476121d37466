"""Where the state of a token's sequence lies: all tokens have one, or in a batch each has its own.

The states of several sequences are stacked: the second axis of each state, behind the layers, is
the *slot* of a sequence. A batched operator takes the slots of its first tokens; tokens after these
belong to none, and it leaves them alone. They fill micro-tiles of the linear operators.

What a layer reads lies together so. With the slots in front, states would lie a multiple of 128 KiB
apart in many models, where the lines of eight sequences are all that a set of L2 can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import declare_or_bind, declare_or_bind_scalar


@dataclass(frozen=True)
class StateIndex:
    """The first indices of a state.

    Attributes
    ----------
    layer : PrimExpr
    slots : Buffer, (sequences,), optional
        int32; None where all tokens belong to one sequence.
    """

    layer: Any
    slots: Any = None

    def __call__(self, t: Any) -> tuple[Any, ...]:
        """Return the indices for a token: its layer, in a batch its slot, too."""
        if self.slots is None:
            return (self.layer,)
        return (self.layer, slot_of(self.slots, t))


@dataclass(frozen=True)
class Positions:
    """How many tokens of its sequence came before each token of a call.

    Attributes
    ----------
    position : Buffer, (1,) or (1, slots)
        int32: of each sequence, before the call.
    slots : Buffer, (sequences,), optional
    """

    position: Any
    slots: Any = None

    def begin(self, t: Any) -> Any:
        """Return the place of the first token of a token's sequence, int64."""
        found = self.position[0] if self.slots is None else self.position[0, slot_of(self.slots, t)]
        return T.cast(found, "int64")

    def place(self, t: Any) -> Any:
        """Return the place of a token, int64."""
        return self.begin(t) + t if self.slots is None else self.begin(t)


def slot_of(slots: Any, t: Any) -> Any:
    """Return the slot of a token as an index."""
    return T.bind(T.cast(slots[t], "int64"))


def with_slots(shape: Sequence[Any], count: Any) -> tuple[Any, ...]:
    """Return the shape of a state of this many sequences."""
    first, *rest = shape
    return (first, count, *rest)


def declare_state(
    spec: OpSpec, name: str, shape: Sequence[Any], dtype: str = "float32", count: Any = None
) -> Any:
    """Declare a state, in a batch one for each of `count` slots (a new symbol if not given)."""
    if not spec.batched:
        return declare_or_bind(name, shape, dtype)
    return declare_or_bind(name, with_slots(shape, T.int64() if count is None else count), dtype)


def declare_slots(spec: OpSpec) -> Any:
    """Declare the slots of a batch's tokens; None where there is one sequence."""
    return declare_or_bind("slots", (T.int64(),), "int32") if spec.batched else None


def declare_index(spec: OpSpec) -> StateIndex:
    """Declare the layer, and in a batch the slots."""
    layer = declare_or_bind_scalar("layer")
    return StateIndex(layer, declare_slots(spec))


def sequences(slots: Any, tokens: Any = 1) -> tuple[Any, Any]:
    """Return how many sequences a call has, and how many tokens each of them.

    Token t of sequence s is the call's token ``s + t``: one of the two counts is 1.
    """
    return (1, tokens) if slots is None else (slots.shape[0], 1)
