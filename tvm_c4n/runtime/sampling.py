"""How the next token is chosen: the parameters that the verbs and the server share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from numbers import Integral, Real
from typing import Any, TypedDict

from tvm_c4n.errors import C4nError, shown

# `repeat_last_n` for the whole text.
WHOLE_TEXT = -1
# By field: its kind, whether a value is good, and which are.
_RANGES: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "temperature": (Real, lambda value: 0 <= value < inf, "0 (most likely token) or more"),
    "top_k": (Integral, lambda value: value >= 0, "0 (all tokens) or more"),
    "top_p": (Real, lambda value: 0 <= value <= 1, "0 to 1 (all tokens)"),
    "min_p": (Real, lambda value: 0 <= value <= 1, "0 (all tokens) to 1"),
    "repeat_penalty": (Real, lambda value: 0 < value < inf, "more than 0 (1: none)"),
    "repeat_last_n": (
        Integral, lambda value: value >= WHOLE_TEXT, "-1 (the whole text), 0 (none) or more"
    ),
    "presence_penalty": (Real, lambda value: abs(value) < inf, "a finite number (0: none)"),
    "frequency_penalty": (Real, lambda value: abs(value) < inf, "a finite number (0: none)"),
    "seed": (Integral, lambda value: value >= 0, "0 or more"),
    "logprobs": (Integral, lambda value: value >= 0, "0 or more"),
}  # fmt: skip


class SamplingOptions(TypedDict, total=False):
    """The fields of `SamplingParams` as keywords; a single stop string may be given as such."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    repeat_last_n: int
    presence_penalty: float
    frequency_penalty: float
    seed: int
    stop: str | Sequence[str]
    logprobs: int | None


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
        for name, (kind, good, use) in _RANGES.items():
            value = getattr(self, name)
            if name == "logprobs" and value is None:
                continue
            # A bool is a number for Python, and a slip here.
            number = isinstance(value, kind) and not isinstance(value, bool)
            if not number or not good(value):
                raise C4nError(f"{name} is {shown(value)}; use {use}")
        strings = isinstance(self.stop, Sequence) and not isinstance(self.stop, str)
        if not strings or not all(isinstance(each, str) for each in self.stop):
            raise C4nError(f"stop is {shown(self.stop)}; use a tuple of strings")
        if "" in self.stop:
            raise C4nError("a stop string is empty, which every text begins with; leave it out")

    @property
    def penalises(self) -> bool:
        """Whether tokens in the window are less likely than the model says."""
        alike = (self.repeat_penalty, self.presence_penalty, self.frequency_penalty) == (1, 0, 0)
        return not alike and self.repeat_last_n != 0


def sampling_params(options: SamplingOptions) -> SamplingParams:
    """Return the parameters that keywords say.

    Raises
    ------
    C4nError
        A keyword is unknown, or its value out of range.
    """
    known = SamplingOptions.__annotations__
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, 1)
            remedy = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise C4nError(f"{shown(name)} is no parameter of sampling: {remedy}")
    stop = options.get("stop", ())
    return SamplingParams(**{**options, "stop": (stop,) if isinstance(stop, str) else stop})  # type: ignore[arg-type]


GREEDY = SamplingParams()
