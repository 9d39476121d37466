"""One answer as it grows: what a continuation says, sent to the reader piece by piece."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.prefix_cache import Kept
from tvm_c4n.server.job import Job
from tvm_c4n.server.mailbox import Piece


class Choice:
    """One answer.

    Parameters
    ----------
    job : Job
    index : int
        Of the answer in its request.
    kept : Kept
        The state after the prompt, and the logits there.
    tokenizer : TextTokenizer

    Attributes
    ----------
    state : State
        What the answer goes on from while it has no slot.
    logits : ndarray, (vocab,)
        After the last token that the model has read.
    """

    def __init__(self, job: Job, index: int, kept: Kept, tokenizer: TextTokenizer) -> None:
        self.job = job
        self.index = index
        self.state = kept.state
        seed = (job.sampling.seed + index - job.choices.start) % (1 << 64)
        params = replace(job.sampling, seed=seed)
        self._said = Continuation(tokenizer, job.ids, max(1, job.limit), params)
        if job.limit:
            self.take(kept.logits)
        else:
            self.cut()

    @property
    def finished(self) -> bool:
        """Whether the answer has ended."""
        return self._said.finish_reason is not None

    @property
    def token(self) -> int:
        """The token to be read next."""
        return self._said.tokens[-1]

    @property
    def read(self) -> list[int]:
        """The tokens of prompt and answer that the model has read when the answer has ended."""
        return [*self.job.ids, *self._said.tokens[: self._said.read]]

    def take(self, logits: NDArray[Any]) -> None:
        """Draw the next token from logits ``(vocab,)`` and send what it adds.

        Raises
        ------
        C4nError
            A logit is not finite.
        """
        self.logits = logits
        before = len(self._said.logprobs)
        text = self._said.put(logits)
        self._send(text, before)

    def remember(self) -> None:
        """Note the tokens of the answer, if its text is all that they say."""
        said, note = self._said, self.job.remember
        if note is not None and said.stopped_by is None:
            note(said.text, [*self.job.ids, *said.tokens])

    def cut(self) -> None:
        """End the answer where it is."""
        self._send(self._said.end(), len(self._said.logprobs))

    def _send(self, text: str, before: int) -> None:
        said = self._said
        scored = tuple(said.logprobs[before:])
        if text or scored or said.finish_reason:
            piece = Piece(self.index, text, len(said.tokens), scored, said.finish_reason)
            self.job.mailbox.put(piece)
