"""A text and its continuation on an engine that keeps its states: what run and chat share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.generate import Model, Stats, follow
from tvm_c4n.runtime.prefix_cache import Kept, PrefixCache
from tvm_c4n.runtime.state import Stateful
from tvm_c4n.runtime.tokens import Ids


class StatefulModel(Model, Stateful, Protocol):
    """The part of `tvm_c4n.runtime.engine.Engine` that this needs."""

    def prefill(self, ids: Ids) -> NDArray[np.float32]:
        """Read tokens; returns the logits of the next one."""
        ...


def answer(
    model: StatefulModel,
    cache: PrefixCache,
    prompt: Sequence[int],
    continuation: Continuation,
    stats: Stats,
) -> Iterator[str]:
    """Read what is new of a prompt and yield its continuation, a piece of text for each token.

    States are kept at the end of the prompt and at the end of what was generated.

    Parameters
    ----------
    model : StatefulModel
    cache : PrefixCache
    prompt : sequence of int
        The whole text so far, at least one token.
    continuation : Continuation
        Whoever ends it while pieces come gets no more of them.
    stats : Stats
        Filled.

    Raises
    ------
    C4nError
        An empty prompt, a token that the model does not know, or a text longer than it reads.
    """
    began = perf_counter()
    reading = cache.read(model, prompt)
    stats.prompt_tokens, stats.cached_tokens = reading.read, reading.cached
    stats.prompt_secs = perf_counter() - began
    yield from follow(model, reading.logits, continuation, stats)
    if continuation.logits is not None:
        read = [*prompt, *continuation.tokens[: continuation.read]]
        cache.keep(read, model.state(), continuation.logits)


def read_to_end(
    model: StatefulModel, prompt: Sequence[int], continuation: Continuation
) -> tuple[list[int], Kept]:
    """Read the last token of a continuation that `answer` gave; returns all tokens and the state.

    Raises
    ------
    C4nError
        The text is as long as the model reads: there is no room for that token.
    """
    logits = continuation.logits
    for token in continuation.tokens[continuation.read :]:
        logits = model.step(token)
    return [*prompt, *continuation.tokens], Kept(model.state(), np.array(logits, np.float32))
