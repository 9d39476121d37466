"""One prompt and its answers: what a request asks of the thread that generates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from tvm_c4n.runtime.logprobs import TokenLogprobs
from tvm_c4n.runtime.sampling import SamplingParams
from tvm_c4n.server.mailbox import Mailbox


@dataclass(eq=False)
class Job:
    """A prompt that is read once and answered by one choice or several.

    Attributes
    ----------
    ids : list of int
        The prompt, at least one token.
    choices : range
        Indices of the answers in their request.
    sampling : SamplingParams
        The seed is that of the first choice; it counts up from choice to choice.
    limit : int
        Tokens of an answer at most; 0: the prompt is read, and that is all.
    echo : str, optional
        The prompt as text, which then stands in front of each answer, with its logprobs.
    mailbox : Mailbox
    deadline : float
        When answers end where they are; of `time.monotonic`.
    remember : callable, optional
        Called with the text of an answer, and the tokens of prompt and answer.
    cached : int
        Tokens of the prompt that a kept state had read; set when reading begins.
    prompt_scored : list of TokenLogprobs
        Filled where the prompt is echoed with logprobs.
    """

    ids: list[int]
    choices: range
    sampling: SamplingParams
    limit: int
    mailbox: Mailbox
    deadline: float
    echo: str | None = None
    remember: Callable[[str, list[int]], None] | None = None
    cached: int = 0
    prompt_scored: list[TokenLogprobs] = field(default_factory=list)
    arrived: float = field(default_factory=monotonic)

    @property
    def scores_prompt(self) -> bool:
        """Whether logprobs of the prompt's tokens are wanted."""
        return self.echo is not None and self.sampling.logprobs is not None

    @property
    def over(self) -> bool:
        """Whether the client left, or its time is over."""
        return self.mailbox.left or monotonic() > self.deadline
