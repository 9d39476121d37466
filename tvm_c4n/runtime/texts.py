"""The texts that an engine writes: one at a time, whichever threads ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.answer import answer, answer_after, read_to_end
from tvm_c4n.runtime.continuation import Continuation, check_limit
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import Stats
from tvm_c4n.runtime.prefix_cache import PrefixCache
from tvm_c4n.runtime.sampling import SamplingParams
from tvm_c4n.runtime.state import State, check_state
from tvm_c4n.runtime.tokens import Ids, check_room, check_tokens


@dataclass(eq=False)
class Text:
    """A text that is being written: its prompt, what follows, and the pieces to come.

    Attributes
    ----------
    prompt : list of int
    continuation : Continuation
    stats : Stats
    pieces : iterator of str
        Some may be empty.
    begun : bool
    """

    prompt: list[int]
    continuation: Continuation
    stats: Stats
    pieces: Iterator[str]
    begun: bool = False


class Texts:
    """Writes texts with an engine that nobody else uses.

    States at the ends of prompts and answers are kept, so that a text that begins like one before
    is read from there on.

    Parameters
    ----------
    engine : Engine
    cache_bytes : int
        Of kept states; 0 keeps none.

    Attributes
    ----------
    last : Text or None
        The one that was begun last, if nothing else used the engine since.
    follow : State or None
        What every text follows.
    """

    def __init__(self, engine: Engine, cache_bytes: int) -> None:
        self._engine: Engine | None = engine
        self._cache = PrefixCache(cache_bytes)
        self.last: Text | None = None
        self.follow: State | None = None
        # Held while the engine computes: a step, or a part of a prompt.
        self._lock = Lock()

    @property
    def engine(self) -> Engine:
        """The engine; C4nError after `close`."""
        if self._engine is None:
            raise C4nError("the model is closed; open it again")
        return self._engine

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._engine is None

    def close(self) -> None:
        """Let go of the engine and of all states; a text that is being written ends."""
        with self._lock:
            self._engine = self.last = self.follow = None
            self._cache.clear()

    def begin(self, prompt: Ids, limit: int, params: SamplingParams) -> Text:
        """Check what is asked for and return the text, of which nothing is read yet.

        Parameters
        ----------
        prompt : sequence of int
        limit : int
            Tokens that follow it at most; fewer where the model has no room for them.
        params : SamplingParams

        Raises
        ------
        C4nError
            A limit below 1, no tokens, one that is none of the model's, or more than it reads.
        """
        engine, before, found = self.engine, self.follow, Stats()
        check_limit(limit)
        ids = check_tokens(prompt, engine.config.vocab_size).tolist()
        context, part = engine.config.context, engine.manifest.chunk
        read = check_room(0 if before is None else before.read, len(ids), context)
        # The last token is not read.
        room = limit if context is None else min(limit, context - read + 1)
        continuation = Continuation(engine.tokenizer, ids, room, params)
        if before is None:
            pieces = answer(engine, self._cache, ids, continuation, found, part=part)
        else:
            pieces = answer_after(engine, before, ids, continuation, found, part=part)
        return Text(ids, continuation, found, pieces)

    def next(self, text: Text) -> str | None:
        """Return the next piece of a text, which may be empty; None at its end.

        Raises
        ------
        C4nError
            Something else has used the engine since its last piece.
        """
        with self._lock:
            _ = self.engine
            if self.last is not text:
                if text.begun:
                    raise C4nError(
                        "the model did something else before this text ended; for two texts at "
                        "once open it twice"
                    )
                self.last, text.begun = text, True
            return next(text.pieces, None)

    @contextmanager
    def alone(self) -> Iterator[Engine]:
        """Use the engine for something else; a text that is being written ends."""
        with self._lock:
            self.last = None
            yield self.engine

    def state_after(self, prompt: Ids) -> State:
        """Read a text, behind what all follow, and return the state after it.

        Raises
        ------
        C4nError
            No tokens, one that is none of the model's, or more than it reads.
        """
        with self.alone() as engine:
            if self.follow is None:
                self._cache.read(engine, prompt)
            else:
                engine.set_state(self.follow)
                engine.prefill(prompt)
            return engine.state()

    def state(self) -> State:
        """Return the state after the last text as far as it is written.

        Raises
        ------
        C4nError
            There is no text, or the model has no room for its last token.
        """
        with self._lock:
            engine, text = self.engine, self.last
            if text is None or text.continuation.logits is None:
                raise C4nError("there is no text yet: generate one, or give state() one to read")
            now = engine.state()
            _, after = read_to_end(engine, text.prompt, text.continuation)
            # Whoever takes the text's pieces gets the rest of them.
            engine.set_state(now)
            return after.state

    def set_follow(self, state: State | None) -> None:
        """Let every text from now on follow that of a state; None: none.

        Raises
        ------
        C4nError
            It belongs to another model, or does not fit the states that this one was compiled for.
        """
        engine = self.engine
        if state is not None:
            check_state(state, engine.fingerprint, engine.config)
        self.follow = state
