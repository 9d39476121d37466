"""A prompt on its way through the model: from a kept state on, part by part."""

from __future__ import annotations

import math
from collections import deque
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.logprobs import TokenLogprobs, logprobs_of
from tvm_c4n.runtime.prefix_cache import Kept, PrefixCache
from tvm_c4n.server.job import Job

# Prompts that a new one is compared with, and the tokens in common that are worth a state.
_REMEMBERED = 32
_COMMON_TOKENS = 64
# Tokens of a part, whatever it takes.
_LEAST_TOKENS = 16
# Weight of the last part in the tokens per second that the next one's length goes by.
_NEW = 0.3


class Borders:
    """Where prompts part: a state is kept there, for the next one that begins alike.

    A system's message that many chats begin with is read twice, and never again.
    """

    def __init__(self) -> None:
        self._seen: deque[NDArray[np.int32]] = deque(maxlen=_REMEMBERED)

    def of(self, ids: list[int]) -> int:
        """Return how many tokens a prompt has in common with one of the last; 0: too few."""
        new, longest = np.asarray(ids, np.int32), 0
        for old in self._seen:
            count = min(len(old), len(new))
            parted = np.flatnonzero(old[:count] != new[:count])
            longest = max(longest, int(parted[0]) if len(parted) else count)
        self._seen.append(new)
        return longest if longest >= _COMMON_TOKENS else 0


class Reading:
    """A job whose prompt is being read.

    Parameters
    ----------
    job : Job
    kept : Kept, optional
        The longest kept beginning of the prompt.
    border : int
        Number of tokens after which the state is kept; 0: after none.

    Attributes
    ----------
    kept : Kept, optional
        The state after `at` tokens, where an engine has read something else since.
    """

    def __init__(self, job: Job, kept: Kept | None, border: int) -> None:
        self.job = job
        self.kept = kept
        self.at = kept.state.read if kept is not None else 0
        self._border = border

    @property
    def done(self) -> bool:
        """Whether the whole prompt is read."""
        return self.at == len(self.job.ids)

    def read(self, engine: Engine, cache: PrefixCache, tokens: int) -> None:
        """Read the next part, of so many tokens at most; the state and logits are kept at its end.

        The engine need not have read what came before.
        """
        job = self.job
        if self.kept is None:
            engine.reset()
        else:
            engine.set_state(self.kept.state)
        end = min(self.at + tokens, len(job.ids))
        if self.at < self._border:
            end = min(end, self._border)
        logits = self._logits(engine, job.ids[self.at : end])
        self.kept = Kept(engine.state(), logits)
        self.at = end
        if end in (self._border, len(job.ids)):
            cache.keep(job.ids[:end], self.kept.state, logits)

    def _logits(self, engine: Engine, part: list[int]) -> NDArray[Any]:
        job = self.job
        if not job.scores_prompt:
            return engine.prefill(part)
        rows, top = engine.score(part), job.sampling.logprobs or 0
        before = TokenLogprobs(part[0], math.nan, ())
        if self.kept is not None:
            before = logprobs_of(self.kept.logits, part[0], top)
        rest = zip(rows, part[1:], strict=False)
        job.prompt_scored += [before, *(logprobs_of(row, token, top) for row, token in rest)]
        last: NDArray[Any] = rows[-1].copy()
        return last


class Pace:
    """How many tokens of a prompt are read in one turn.

    Parameters
    ----------
    most : int
        That the model reads at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Tokens per second; a first guess that makes the first part a short one.
        self._rate = 1000.0

    def tokens(self, secs: float) -> int:
        """Return how many tokens take about so long."""
        return min(self._most, max(_LEAST_TOKENS, int(self._rate * secs)))

    def observe(self, tokens: int, began: float) -> None:
        """Take in a part that began at a time of `time.perf_counter` and ends now."""
        rate = tokens / max(perf_counter() - began, 1e-6)
        self._rate += _NEW * (rate - self._rate)
