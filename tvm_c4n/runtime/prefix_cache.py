"""States of texts that were read, so that a text that begins like one is not read from its start.

A state cannot be taken back by a token. So states are kept where texts are likely to go on: at the
end of a prompt, and at the end of its answer. A chat template may write an earlier answer in
another way than it was generated; the next turn then goes on from the end of the earlier prompt.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.state import State, Stateful
from tvm_c4n.runtime.tokens import Ids, check_tokens

# Some 280 states of a model with 19 million parameters, 12 of one with 2.8 billion.
LIMIT_BYTES = 256 << 20
# A vocabulary that every token of 32 bits is in: the engine checks by its own.
_ANY = 1 << 31


@dataclass(frozen=True, eq=False)
class Kept:
    """A state, and what the model said there.

    Attributes
    ----------
    state : State
    logits : ndarray, (vocab,) float32
        Of the token after the last one.
    """

    state: State
    logits: NDArray[np.float32]

    @property
    def size_bytes(self) -> int:
        """Bytes of both."""
        return self.state.size_bytes + self.logits.nbytes


@dataclass(frozen=True, eq=False)
class Reading:
    """What it took to read a text.

    Attributes
    ----------
    logits : ndarray, (vocab,) float32
        Of the token after the last one.
    cached, read : int
        Tokens that a kept state had read before, and those that were read now.
    """

    logits: NDArray[np.float32]
    cached: int
    read: int


class PrefixCache:
    """The states that were used last, of one model or of several; threads may share it.

    Parameters
    ----------
    limit_bytes : int
        Of all states with their logits. Those that were not used for longest go first; one that is
        larger by itself is not kept.

    Raises
    ------
    C4nError
        A limit below 0.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        if limit_bytes < 0:
            raise C4nError(f"cannot keep states in {limit_bytes} bytes; use 0 (none) or more")
        self.limit_bytes = limit_bytes
        # By fingerprint and tokens as bytes; the one that was used last stands last.
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of states."""
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """Bytes of all states with their logits."""
        return self._size_bytes

    def keep(self, ids: Ids, state: State, logits: NDArray[Any]) -> None:
        """Keep the state of a text.

        Parameters
        ----------
        ids : sequence of int
            All tokens of the text.
        state : State
            After the last one.
        logits : ndarray, (vocab,)
            Of the token after the last one; copied.

        Raises
        ------
        C4nError
            The state has read another number of tokens.
        """
        if state.read != len(ids):
            raise C4nError(f"the state has read {state.read} tokens, not the {len(ids)} given")
        kept = Kept(state, np.array(logits, np.float32))
        kept.logits.flags.writeable = False
        if kept.size_bytes > self.limit_bytes:
            return
        key = (state.fingerprint, _bytes(ids))
        with self._lock:
            self._forget(key)
            while self._size_bytes + kept.size_bytes > self.limit_bytes:
                self._forget(next(iter(self._kept)))
            self._kept[key] = kept
            self._size_bytes += kept.size_bytes

    def longest(self, ids: Ids, fingerprint: str) -> Kept | None:
        """Return the state of the longest kept text that the given one begins with, if any."""
        whole = _bytes(ids)
        with self._lock:
            fitting = [
                key for key in self._kept if key[0] == fingerprint and whole.startswith(key[1])
            ]
            if not fitting:
                return None
            found = max(fitting, key=lambda key: len(key[1]))
            self._kept.move_to_end(found)
            return self._kept[found]

    def begin(self, engine: Stateful, ids: Ids) -> Kept | None:
        """Set the longest kept beginning of a text on an engine and return it; else reset it."""
        kept = self.longest(ids, engine.fingerprint)
        if kept is None:
            engine.reset()
        else:
            engine.set_state(kept.state)
        return kept

    def resume(self, engine: Stateful, ids: Ids) -> int:
        """Bring an engine as far into a text as a kept state goes.

        Returns
        -------
        int
            How many of the tokens, the last ones, are left to read; 0 if the whole text is kept.
        """
        kept = self.begin(engine, ids)
        return len(ids) - (0 if kept is None else kept.state.read)

    def read(self, engine: Stateful, ids: Ids, borders: Collection[int] = ()) -> Reading:
        """Read a text on an engine from the longest kept prefix on, and keep its state.

        Parameters
        ----------
        engine : Stateful
        ids : sequence of int
            The whole text, at least one token.
        borders : collection of int
            Numbers of tokens after which other texts may go on differently, such as those of a
            system's message: states are kept there, too.

        Raises
        ------
        C4nError
            As `tvm_c4n.runtime.engine.Engine.prefill`.
        """
        array = check_tokens(ids, _ANY)
        kept = self.begin(engine, array)
        cached = 0 if kept is None else kept.state.read
        if kept is not None and cached == len(array):
            return Reading(kept.logits, cached, 0)
        at = cached
        for border in sorted({*(b for b in borders if cached < b < len(array)), len(array)}):
            logits = engine.prefill(array[at:border])
            self.keep(array[:border], engine.state(), logits)
            at = border
        return Reading(logits, cached, len(array) - cached)

    def clear(self) -> None:
        """Forget all states."""
        with self._lock:
            self._kept.clear()
            self._size_bytes = 0

    def _forget(self, key: tuple[str, bytes]) -> None:
        found = self._kept.pop(key, None)
        self._size_bytes -= found.size_bytes if found is not None else 0


def _bytes(ids: Ids) -> bytes:
    """Return tokens as bytes, four each: one text begins with another where its bytes do."""
    return check_tokens(ids, _ANY).tobytes()
