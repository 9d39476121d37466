"""A text and its continuation on an engine that keeps its states: what run and chat share."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.generate import Model, Stats, follow
from tvm_c4n.runtime.prefix_cache import Kept, PrefixCache
from tvm_c4n.runtime.state import State, Stateful
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
    *,
    part: int | None = None,
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
    part : int, optional
        Tokens of the prompt that are read at once; default: all. See `read_on`.

    Raises
    ------
    C4nError
        An empty prompt, a token that the model does not know, or a text longer than it reads.
    """
    kept = cache.begin(model, prompt)
    cached = 0 if kept is None else kept.state.read
    stats.cached_tokens = cached
    if kept is not None and cached == len(prompt):
        logits: NDArray[Any] = kept.logits
    else:
        logits = yield from read_on(model, prompt[cached:], stats, part=part)
        cache.keep(prompt, model.state(), logits)
    yield from follow(model, logits, continuation, stats)
    if continuation.logits is not None:
        read = [*prompt, *continuation.tokens[: continuation.read]]
        cache.keep(read, model.state(), continuation.logits)


def answer_after(
    model: StatefulModel,
    state: State,
    prompt: Sequence[int],
    continuation: Continuation,
    stats: Stats,
    *,
    part: int | None = None,
) -> Iterator[str]:
    """Yield the continuation of a prompt that follows the text of a state; as `answer` does."""
    model.set_state(state)
    stats.cached_tokens = state.read
    logits = yield from read_on(model, prompt, stats, part=part)
    yield from follow(model, logits, continuation, stats)


def read_on(
    model: StatefulModel, ids: Sequence[int], stats: Stats, *, part: int | None = None
) -> Generator[str, None, NDArray[np.float32]]:
    """Read tokens behind the state; returns the logits after the last one.

    An empty piece comes between two parts, so that whoever reads may give up there: a long text
    takes a while. Parts that are a multiple of what the model reads at once change no logits.
    """
    step = part or max(1, len(ids))
    for start in range(0, max(1, len(ids)), step):
        if start:
            yield ""
        began = perf_counter()
        logits = model.prefill(ids[start : start + step])
        stats.prompt_tokens += len(ids[start : start + step])
        stats.prompt_secs += perf_counter() - began
    return logits


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
