"""What an engine carries after a text, kept: the text goes on from there without a second reading.

The state of a scan has the same size after any number of tokens. Of the keys and values of
attention only the blocks of the ring that hold tokens are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.model import states
from tvm_c4n.model.blocks.attention import RING_BLOCK
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.runtime.manifest import Manifest
from tvm_c4n.runtime.tokens import Ids, check_room

# Of the states that are a ring: the axis of a token's place in its block. That of the blocks is the
# third, behind layers and heads (`tvm_c4n.ops.ring.ring_shapes`).
_PLACES = {"keys": 4, "values": 3}
_BLOCKS = 2
# Digits of a fingerprint that a message shows.
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class State:
    """What a model carries after some tokens; arrays that nothing changes any more.

    Attributes
    ----------
    arrays : tuple of ndarray
        In the order of the model's states, read-only. Rings are cut behind the last block of 64
        tokens that was begun, and hold zeros behind the last token.
    read : int
        Tokens of the text so far.
    fingerprint : str
        Of the compiled model that it belongs to, see `fingerprint_of`.
    """

    arrays: tuple[NDArray[Any], ...]
    read: int
    fingerprint: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays)


class Stateful(Protocol):
    """The part of `tvm_c4n.runtime.engine.Engine` that reads texts and gives states."""

    @property
    def fingerprint(self) -> str:
        """Tells the states of this model from those of others."""
        ...

    def reset(self) -> None:
        """Forget the text."""
        ...

    def prefill(self, ids: Ids) -> NDArray[np.float32]:
        """Read tokens; returns the logits of the next one."""
        ...

    def state(self) -> State:
        """Copy what the model carries after the tokens read so far."""
        ...

    def set_state(self, state: State) -> None:
        """Go on from a state."""
        ...


def fingerprint_of(manifest: Manifest) -> str:
    """Return the sha256, in hexadecimal, of a model's config and repacked weights.

    Two artifacts have the same one where their states mean the same: a context or a dtype of states
    that was chosen when compiling changes nothing in it, another model or ISA family does.
    """
    about = json.dumps([manifest.config, manifest.weights_sha256], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()


def kept_shape(spec: states.State, read: int) -> tuple[int, ...]:
    """Return the shape of a model's state after so many tokens, as a `State` keeps it."""
    if spec.name not in _PLACES:
        return spec.shape
    return (*spec.shape[:_BLOCKS], -(-read // RING_BLOCK), *spec.shape[_BLOCKS + 1 :])


def copied(
    arrays: Sequence[NDArray[Any]], specs: Sequence[states.State], read: int
) -> tuple[NDArray[Any], ...]:
    """Copy an engine's states for a `State`.

    What an earlier text left in a ring behind the last token does not come along.
    """
    found = []
    for array, spec in zip(arrays, specs, strict=True):
        blocks = kept_shape(spec, read)[_BLOCKS] if spec.name in _PLACES else 0
        kept = array[:, :, :blocks].copy() if spec.name in _PLACES else array.copy()
        if spec.name in _PLACES and read % RING_BLOCK:
            last = np.moveaxis(kept[:, :, -1], _PLACES[spec.name] - 1, 0)
            last[read % RING_BLOCK :] = 0
        kept.flags.writeable = False
        found.append(kept)
    return tuple(found)


def restore(arrays: Sequence[NDArray[Any]], specs: Sequence[states.State], state: State) -> None:
    """Write a checked state into those of an engine."""
    for array, spec, kept in zip(arrays, specs, state.arrays, strict=True):
        if spec.name in _PLACES:
            array[:, :, : kept.shape[_BLOCKS]] = kept
        else:
            array[...] = kept


def check_state(state: State, fingerprint: str, config: ModelConfig) -> None:
    """Compare a state with the model that is to go on from it.

    Raises
    ------
    C4nError
        It belongs to another model, was kept with other dtypes of keys, values or scan states, or
        has more tokens than the model reads.
    """
    if state.fingerprint != fingerprint:
        raise C4nError(
            f"the state belongs to another model ({state.fingerprint[:_SHOWN]}, this one is "
            f"{fingerprint[:_SHOWN]}): load the one that it was made with"
        )
    check_room(0, state.read, config.context)
    specs = config.states()
    if len(state.arrays) != len(specs):
        raise C4nError(f"the state has {len(state.arrays)} arrays, the model {len(specs)}")
    for array, spec in zip(state.arrays, specs, strict=True):
        expected = kept_shape(spec, state.read)
        if array.shape != expected or array.dtype != spec.dtype:
            raise C4nError(
                f"{spec.name} of the state is {array.dtype} {list(array.shape)}, of the model "
                f"{spec.dtype} {list(expected)}: compile it with the same --kv-dtype and "
                "--scan-dtype"
            )
