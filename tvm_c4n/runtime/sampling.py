"""How the next token is chosen: the parameters that the verbs and the server share."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from tvm_c4n.errors import C4nError

# `repeat_last_n` for the whole text.
WHOLE_TEXT = -1


@dataclass(frozen=True)
class SamplingParams:
    """Parameters of `tvm_c4n.runtime.sampler.Sampler` and of where a text stops.

    Names, meaning and order are those of llama.cpp: penalties, top-k, top-p, min-p, temperature.
    The defaults change nothing: always the most likely token.

    Attributes
    ----------
    temperature : float
        Logits are divided by it. 0 takes the most likely token, the lowest of equal ones.
    top_k : int
        Only this many tokens, the most likely ones, and those that are as likely as the last of
        them; 0: all.
    top_p : float
        Only the most likely tokens whose probabilities come to this much, before the temperature;
        1: all.
    min_p : float
        Only tokens that are at least this much times as likely as the most likely one; 0: all.
    repeat_penalty : float
        Logits above 0 of tokens in the window are divided by it, those below multiplied; 1: none.
    repeat_last_n : int
        The window of penalties: so many tokens at the end of the text, prompt included; 0: none,
        -1: the whole text.
    presence_penalty, frequency_penalty : float
        Taken off the logit of a token in the window, once and for each time it stands there.
    seed : int
        Seeds the draws; without effect at temperature 0.
    stop : tuple of str
        A text ends before the first of these that appears in it.
    logprobs : int, optional
        Log-probabilities are kept, of each token that is chosen and of so many of the most likely
        ones; None: they are not.

    Raises
    ------
    C4nError
        Names the first value that is out of range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None

    def __post_init__(self) -> None:
        for name, good, use in (
            ("temperature", self.temperature >= 0, "0 (most likely token) or more"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("top_p", 0 <= self.top_p <= 1, "0 to 1 (all tokens)"),
            ("min_p", 0 <= self.min_p <= 1, "0 (all tokens) to 1"),
            ("repeat_penalty", self.repeat_penalty > 0, "more than 0 (1: none)"),
            ("repeat_last_n", self.repeat_last_n >= -1, "-1 (the whole text), 0 (none) or more"),
            ("presence_penalty", True, "a finite number (0: none)"),
            ("frequency_penalty", True, "a finite number (0: none)"),
            ("seed", self.seed >= 0, "0 or more"),
            ("logprobs", self.logprobs is None or self.logprobs >= 0, "0 or more"),
        ):
            value = getattr(self, name)
            if not good or (isinstance(value, float) and not isfinite(value)):
                raise C4nError(f"{name} is {value}; use {use}")
        if "" in self.stop:
            raise C4nError("a stop string is empty, which every text begins with; leave it out")

    @property
    def penalises(self) -> bool:
        """Whether tokens in the window are less likely than the model says."""
        alike = (self.repeat_penalty, self.presence_penalty, self.frequency_penalty) == (1, 0, 0)
        return not alike and self.repeat_last_n != 0


GREEDY = SamplingParams()
