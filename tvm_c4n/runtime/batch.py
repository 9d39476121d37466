"""Several texts at once: a step reads the weights once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm_runtime import from_dlpack, tensor
from tvm_c4n.errors import C4nError
from tvm_c4n.model import states
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.library import BATCH_STEP
from tvm_c4n.runtime.manifest import ALIGN
from tvm_c4n.runtime.state import State, check_state, copied, restore
from tvm_c4n.runtime.tokens import check_room, check_token

# Counts of tokens from which micro-tiles are filled up: see `_filled`.
_FILL = 4


class Batch:
    """Texts in slots, which take steps together; each slot starts empty.

    An engine reads a prompt, and `put` takes over its state. Steps belong to one thread at a time,
    the engine's calls included, as `Engine` says.

    Parameters
    ----------
    engine : Engine
        Its artifact was compiled with ``batch=True``.
    slots : int
        Texts at most. Each takes the memory of a model's states.

    Raises
    ------
    C4nError
        An artifact that runs one text at a time, or no slots.
    """

    def __init__(self, engine: Engine, slots: int) -> None:
        self._engine, self._most = engine, engine.manifest.batch
        if not self._most:
            raise C4nError(
                f"{engine.artifact.path} runs one text at a time: compile it with --batch"
            )
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise C4nError(f"slots is {slots!r}: give 1 or more")
        self._specs = engine.config.states()
        self._arrays = _stacked(slots, self._specs)
        self._states = [from_dlpack(array) for array in self._arrays]
        self._read = [0] * slots

    @property
    def slots(self) -> int:
        """How many texts there is room for."""
        return len(self._read)

    def reset(self, slot: int) -> None:
        """Forget the text of a slot."""
        self._check_slot(slot)
        with self._engine.alone:
            self._read[slot] = 0
            for array in self._arrays:
                array[:, slot] = 0

    def put(self, slot: int, state: State) -> None:
        """Let a slot go on from a state, whatever it held.

        Raises
        ------
        C4nError
            See `Engine.set_state`; there is no such slot.
        """
        self._check_slot(slot)
        check_state(state, self._engine.fingerprint, self._engine.config)
        with self._engine.alone:
            restore([array[:, slot] for array in self._arrays], self._specs, state)
            self._read[slot] = state.read

    def state(self, slot: int) -> State:
        """Copy what the model carries after the text of a slot."""
        self._check_slot(slot)
        with self._engine.alone:
            read = self._read[slot]
            arrays = copied([array[:, slot] for array in self._arrays], self._specs, read)
            return State(arrays, read, self._engine.fingerprint)

    def step(self, tokens: Mapping[int, int]) -> dict[int, NDArray[np.float32]]:
        """Read one token of each text that is given.

        Parameters
        ----------
        tokens : mapping
            By slot: its token. Other slots stay as they are.

        Returns
        -------
        dict
            By slot: logits ``(vocab,)`` float32, which no later step overwrites.

        Raises
        ------
        C4nError
            A token that is no integer of the vocabulary, a slot that there is not, or a text that
            is full; then no text has gone on.
        """
        config, vocab = self._engine.config, self._engine.config.vocab_size
        for slot in tokens:
            self._check_slot(slot)
            check_room(self._read[slot], 1, config.context)
        pairs = [(slot, check_token(token, vocab)) for slot, token in tokens.items()]
        found: dict[int, NDArray[np.float32]] = {}
        for start in range(0, len(pairs), self._most):
            found |= self._step(pairs[start : start + self._most])
        return found

    def _step(self, pairs: Sequence[tuple[int, int]]) -> dict[int, NDArray[np.float32]]:
        slots = [slot for slot, _ in pairs]
        ids = np.zeros(_filled(len(pairs)), np.int32)
        ids[: len(pairs)] = [token for _, token in pairs]
        inputs = [tensor(array) for array in (ids, np.array(slots, np.int32))]
        logits = np.from_dlpack(self._engine.call(BATCH_STEP, *inputs, *self._states))
        for slot in slots:
            self._read[slot] += 1
        return {slot: logits[row] for row, slot in enumerate(slots)}

    def _check_slot(self, slot: int) -> None:
        if isinstance(slot, bool) or not isinstance(slot, int) or not 0 <= slot < self.slots:
            raise C4nError(f"slot {slot!r} is none of 0 to {self.slots - 1}")


def _filled(count: int) -> int:
    """Return how many tokens a call is to have: few micro-tiles, and those whole."""
    if count <= _FILL:
        return 1 << (count - 1).bit_length()
    return -(-count // _FILL) * _FILL


def _stacked(slots: int, specs: Sequence[states.State]) -> list[NDArray[Any]]:
    """Return zeros for the states of all slots, in one block: huge pages suit their many rows.

    The slots are the second axis (`tvm_c4n.ops.slots`). Each state starts where kernels want it,
    and takes memory when it is written.
    """
    sizes = [slots * prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs]
    starts = [0, *accumulate(size + -size % ALIGN for size in sizes)]
    block = huge_pages.allocate(starts[-1])
    return [
        block[start : start + size].view(spec.dtype).reshape(spec.shape[0], slots, *spec.shape[1:])
        for spec, start, size in zip(specs, starts, sizes, strict=False)
    ]
