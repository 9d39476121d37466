"""Answers decoded one after the other on one engine: for models without a batched step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.state import State


class Slots(Protocol):
    """Several texts under way, each in a slot."""

    def put(self, slot: int, state: State) -> None:
        """Let a slot go on from a state."""
        ...

    def state(self, slot: int) -> State:
        """Copy the state of a slot."""
        ...

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, NDArray[Any]]:
        """Read a token in each of some slots; returns the logits ``(vocab,)`` by slot."""
        ...


class OneByOne:
    """Slots that take turns on one engine.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._states: dict[int, State] = {}

    def put(self, slot: int, state: State) -> None:
        """Let a slot go on from a state."""
        self._states[slot] = state

    def state(self, slot: int) -> State:
        """Return the state of a slot."""
        return self._states[slot]

    def step(self, tokens: Mapping[int, int]) -> dict[int, NDArray[np.float32]]:
        """Read a token in each of some slots; returns the logits ``(vocab,)`` by slot."""
        found = {}
        for slot, token in tokens.items():
            self._engine.set_state(self._states[slot])
            found[slot] = self._engine.step(token)
            self._states[slot] = self._engine.state()
        return found
