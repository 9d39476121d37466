"""What follows a prompt: from the logits of each place to tokens, text, and where it ends.

It runs no model, so that whoever does may step one text or many at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from numbers import Integral
from typing import Any, Literal

from numpy.typing import NDArray

from tvm_c4n.errors import C4nError, shown
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.runtime.logprobs import TokenLogprobs, logprobs_of
from tvm_c4n.runtime.sampler import Sampler
from tvm_c4n.runtime.sampling import GREEDY, SamplingParams
from tvm_c4n.runtime.stop_strings import StopStrings
from tvm_c4n.runtime.text_stream import TextStream

FinishReason = Literal["stop", "length"]


def check_limit(limit: int) -> None:
    """Raise C4nError if a text of so many tokens cannot be generated."""
    if not isinstance(limit, Integral) or limit < 1:
        raise C4nError(f"cannot generate {shown(limit)} tokens; use 1 or more")


class Continuation:
    """Turns logits into the tokens and the text that follow a prompt.

    ``put`` gets the logits after the prompt, then, until there is a `finish_reason`, those after
    each token. Whoever calls it has the model read ``tokens[-1]`` in between; the last one is not
    read, unless a token that ends a text came behind it.

    Parameters
    ----------
    tokenizer : TextTokenizer or None
        None: tokens alone, without text and stop strings.
    prompt : sequence of int
        The tokens so far, for penalties.
    limit : int
        Tokens at most.
    params : SamplingParams
    ends : collection of int, optional
        Tokens that end a text, none of which is given; by default the tokenizer's.

    Attributes
    ----------
    tokens : list of int
        Those generated so far.
    text : str
        What `put` has returned so far; at the end the whole text.
    finish_reason : str or None
        ``"stop"``: a token or a string that ends the text came; ``"length"``: the limit.
    stopped_by : str or None
        The stop string that came.
    logits : ndarray, (vocab,), or None
        What `put` got last: those after `read` tokens.
    logprobs : list of TokenLogprobs
        Of each token, if the parameters ask for them.

    Raises
    ------
    C4nError
        A limit below 1.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer | None,
        prompt: Sequence[int],
        limit: int,
        params: SamplingParams = GREEDY,
        *,
        ends: Collection[int] | None = None,
    ) -> None:
        check_limit(limit)
        if ends is None:
            ends = () if tokenizer is None else tokenizer.ends
        self._limit, self._ends, self._params = limit, frozenset(ends), params
        self._sampler = Sampler(params, prompt)
        self._stream = None if tokenizer is None else TextStream(tokenizer)
        self._stop = StopStrings(params.stop)
        self.tokens: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.logits: NDArray[Any] | None = None
        self.logprobs: list[TokenLogprobs] = []

    @property
    def stopped_by(self) -> str | None:
        """The stop string that came."""
        return self._stop.found

    @property
    def read(self) -> int:
        """How many of the tokens the model had read when it gave the last logits."""
        ended = self.finish_reason == "stop" and self.stopped_by is None
        return len(self.tokens) if ended else max(0, len(self.tokens) - 1)

    def put(self, logits: NDArray[Any]) -> str:
        """Choose a token; returns the text that is complete by it, often its own.

        Parameters
        ----------
        logits : ndarray, (vocab,)

        Raises
        ------
        C4nError
            The text has ended, or a logit is not finite.
        """
        if self.finish_reason is not None:
            raise C4nError("the text has ended; begin another one")
        self.logits = logits
        token = self._sampler(logits)
        if token in self._ends:
            self.finish_reason = "stop"
            return self._said("", last=True)
        self.tokens.append(token)
        if self._params.logprobs is not None:
            self.logprobs.append(logprobs_of(logits, token, self._params.logprobs))
        last = len(self.tokens) >= self._limit
        piece = self._said("" if self._stream is None else self._stream.put(token), last=last)
        if self.stopped_by is not None:
            self.finish_reason = "stop"
        elif last:
            self.finish_reason = "length"
        return piece

    def end(self) -> str:
        """End the text here, as somebody who wants no more of it does; returns what waited."""
        if self.finish_reason is not None:
            return ""
        self.finish_reason = "length"
        return self._said("", last=True)

    def _said(self, piece: str, *, last: bool) -> str:
        """Pass a piece on as far as no stop string may begin in it; all of the last one."""
        if last and self._stream is not None:
            piece += self._stream.end()
        shown = self._stop.put(piece)
        if last:
            shown += self._stop.end()
        self.text += shown
        return shown
