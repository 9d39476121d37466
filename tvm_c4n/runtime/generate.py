"""Continue a prompt, token by token."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, Unpack

from numpy.typing import NDArray

from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.sampling import (
    GREEDY,
    SamplingOptions,
    SamplingParams,
    sampling_params,
)


class Model(Protocol):
    """The part of `tvm_c4n.runtime.engine.Engine` that generation needs."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer, and the tokens that start and end its texts."""
        ...

    def reset(self) -> None:
        """Forget the text."""
        ...

    def prefill(self, ids: Sequence[int]) -> NDArray[Any]:
        """Read tokens; returns the logits of the next one."""
        ...

    def step(self, token: int) -> NDArray[Any]:
        """Read one token; returns the logits of the next one."""
        ...


@dataclass
class Stats:
    """What a generation took.

    Attributes
    ----------
    prompt_tokens, tokens : int
        Read, and generated.
    cached_tokens : int
        Of the prompt, that a kept state had read before.
    prompt_secs, decode_secs : float
        Reading the prompt, and the steps between the first and the last generated token.
    """

    prompt_tokens: int = 0
    tokens: int = 0
    cached_tokens: int = 0
    prompt_secs: float = 0.0
    decode_secs: float = 0.0

    @property
    def prompt_rate(self) -> float:
        """Prompt tokens per second."""
        return self.prompt_tokens / self.prompt_secs if self.prompt_secs else 0.0

    @property
    def decode_rate(self) -> float:
        """Generated tokens per second; the first one comes with the prompt and is not counted."""
        steps = max(0, self.tokens - 1)
        return steps / self.decode_secs if self.decode_secs else 0.0

    def __str__(self) -> str:
        kept = f" after {self.cached_tokens} kept" if self.cached_tokens else ""
        return (
            f"prompt: {_counted(self.prompt_tokens)}{kept}{_speed(self.prompt_rate)}; "
            f"generated: {_counted(self.tokens)}{_speed(self.decode_rate)}"
        )


def _counted(tokens: int) -> str:
    return "1 token" if tokens == 1 else f"{tokens} tokens"


def _speed(rate: float) -> str:
    """Nothing where nothing was timed: 0 tokens/s would look like a fault."""
    return f", {rate:.1f} tokens/s" if rate else ""


def read_prompt(model: Model, prompt: Sequence[int], stats: Stats) -> NDArray[Any]:
    """Read a prompt from a fresh state; returns the logits of the token after it.

    Parameters
    ----------
    model : Model
    prompt : sequence of int
        At least one token.
    stats : Stats
        Filled.

    Raises
    ------
    C4nError
        An empty prompt, or a token that the model does not know.
    """
    model.reset()
    began = perf_counter()
    logits = model.prefill(prompt)
    stats.prompt_tokens, stats.prompt_secs = len(prompt), perf_counter() - began
    return logits


def follow(
    model: Model, logits: NDArray[Any], continuation: Continuation, stats: Stats
) -> Iterator[str]:
    """Yield what a model that has read the prompt says next: a piece of text for each token.

    Parameters
    ----------
    model : Model
    logits : ndarray, (vocab,)
        After the prompt.
    continuation : Continuation
        Its tokens, and why they ended, are there afterwards. Whoever ends it while pieces come
        gets no more of them.
    stats : Stats
        Filled while pieces come.
    """
    while True:
        piece = continuation.put(logits)
        stats.tokens = len(continuation.tokens)
        yield piece
        if continuation.finish_reason is not None:
            return  # the last token is not read: nobody would use its logits
        began = perf_counter()
        logits = model.step(continuation.tokens[-1])
        stats.decode_secs += perf_counter() - began


def generate_tokens(
    model: Model,
    prompt: Sequence[int],
    limit: int,
    *,
    params: SamplingParams = GREEDY,
    ends: Collection[int] = (),
    stats: Stats | None = None,
) -> Iterator[int]:
    """Yield up to ``limit`` tokens that follow a prompt, from a fresh state.

    Parameters
    ----------
    model : Model
    prompt : sequence of int
        At least one token.
    limit : int
        Tokens to generate at most.
    params : SamplingParams
        How they are chosen; stop strings are for texts, not for tokens.
    ends : collection of int
        The tokens that end a text; none of them is yielded. Default: the text goes on to the limit.
    stats : Stats, optional
        Filled while tokens come.

    Raises
    ------
    C4nError
        An empty prompt, a token that the model does not know, or ``limit`` below 1.
    """
    continuation = Continuation(None, prompt, limit, params, ends=ends)
    stats = Stats() if stats is None else stats
    logits, given = read_prompt(model, prompt, stats), 0
    for _ in follow(model, logits, continuation, stats):
        if len(continuation.tokens) > given:
            given += 1
            yield continuation.tokens[-1]


def generate(
    model: Model,
    prompt: str | Sequence[int],
    limit: int = 64,
    *,
    stats: Stats | None = None,
    **sampling: Unpack[SamplingOptions],
) -> Iterator[str]:
    """Yield the continuation of a prompt as text, piece by piece.

    Parameters
    ----------
    model : Model
        What `tvm_c4n.load` returned.
    prompt : str or sequence of int
        May be empty: the model then starts a text of its own. Tokens are read as they are, such as
        those of ``model.tokenizer.chat(messages)``.
    limit : int
        Tokens to generate at most; a token that ends a text ends it earlier.
    stats : Stats, optional
        Filled while pieces come.
    **sampling
        Fields of `tvm_c4n.runtime.sampling.SamplingParams`, such as ``temperature=0.8``, ``seed=1``
        or ``stop=("User:",)``. The same seed gives the same text on the same machine with the same
        number of threads.

    Raises
    ------
    C4nError
        See `read_prompt` and `sampling_params`; CheckpointError for the tokenizer.
    """
    params = sampling_params(sampling)
    tokenizer = model.tokenizer
    ids = tokenizer.prompt(prompt) if isinstance(prompt, str) else prompt
    continuation = Continuation(tokenizer, ids, limit, params)
    stats = Stats() if stats is None else stats
    logits = read_prompt(model, ids, stats)
    for piece in follow(model, logits, continuation, stats):
        if piece:
            yield piece
