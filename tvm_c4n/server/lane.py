"""One model's work, in turns: a part of one prompt, and a token of every answer."""

from __future__ import annotations

from time import monotonic

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.prefix_cache import Kept, PrefixCache
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.choice import Choice
from tvm_c4n.server.decoding import Decoding
from tvm_c4n.server.job import Job
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.mailbox import Piece
from tvm_c4n.server.metrics import Metrics
from tvm_c4n.server.one_by_one import Slots
from tvm_c4n.server.prompt_queue import PromptQueue

# Seconds of a prompt that are read in one turn, with answers that wait meanwhile and without.
_BESIDE_SECS = 0.02
_ALONE_SECS = 0.1


class Lane:
    """The jobs of one model. All of it belongs to the thread that generates.

    Parameters
    ----------
    engine : Engine
    batch : Slots
    cache : PrefixCache
        Shared by all lanes.
    limits : Limits
    metrics : Metrics
    """

    def __init__(
        self, engine: Engine, batch: Slots, cache: PrefixCache, limits: Limits, metrics: Metrics
    ) -> None:
        self._tokenizer = engine.tokenizer
        self._metrics = metrics
        self._prompts = PromptQueue(engine, cache, metrics)
        self._answers = Decoding(batch, limits.slots, cache)

    def add(self, job: Job) -> None:
        """Take on a job."""
        self._prompts.add(job)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do until something arrives or a reader catches up."""
        return not (self._prompts.busy or self._answers.busy)

    @property
    def empty(self) -> bool:
        """Whether there is no job at all."""
        return self.idle and not self._answers.paused

    @property
    def waiting(self) -> int:
        """Jobs whose prompt nobody has begun to read."""
        return self._prompts.waiting

    @property
    def decoding(self) -> int:
        """Answers that have a slot."""
        return self._answers.decoding

    def turn(self) -> None:
        """Do a little of everything."""
        self._prompts.sweep()
        self._answers.sweep()
        self._prompts.admit(self._answers.room)
        if reading := self._prompts.reading:
            beside = self._answers.decoding or reading > 1
            self._prompts.read(_BESIDE_SECS if beside else _ALONE_SECS, self._begin)
        self._metrics.generated(self._answers.step())

    def fail(self, error: ApiError) -> None:
        """End all jobs with an error."""
        for job in [*self._prompts.jobs, *self._answers.jobs]:
            job.mailbox.fail(error)
        self._prompts.clear()
        self._answers.clear()

    def _begin(self, job: Job, kept: Kept) -> None:
        """Begin the answers of a prompt that is read."""
        for index in job.choices:
            if job.echo is not None:
                job.mailbox.put(Piece(index, job.echo, 0, tuple(job.prompt_scored)))
            try:
                choice = Choice(job, index, kept, self._tokenizer)
            except C4nError as error:  # logits that are no numbers
                job.mailbox.fail(ApiError(500, str(error)))
                return
            if not choice.finished:
                self._answers.add(choice)
        self._metrics.generated(len(job.choices))
        self._metrics.first_token(monotonic() - job.arrived)
