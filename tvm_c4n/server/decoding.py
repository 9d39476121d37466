"""Answers decoded together, each in a slot; the others wait for a slot, or for their reader."""

from __future__ import annotations

from collections import deque

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.prefix_cache import PrefixCache
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.choice import Choice
from tvm_c4n.server.job import Job
from tvm_c4n.server.one_by_one import Slots


class Decoding:
    """The answers of one model that have begun.

    Nothing is taken out of its place before what is done with it has worked: if the model fails,
    `jobs` still has all of them.

    Parameters
    ----------
    batch : Slots
    slots : int
    cache : PrefixCache
    """

    def __init__(self, batch: Slots, slots: int, cache: PrefixCache) -> None:
        self._batch, self._cache = batch, cache
        self._ready: deque[Choice] = deque()
        self._paused: list[Choice] = []
        self._slots: dict[int, Choice] = {}
        self._free = list(range(slots))

    @property
    def busy(self) -> bool:
        """Whether an answer has a slot or could have one."""
        return bool(self._slots or self._ready)

    @property
    def paused(self) -> int:
        """Answers whose reader is behind."""
        return len(self._paused)

    @property
    def decoding(self) -> int:
        """Answers that have a slot."""
        return len(self._slots)

    @property
    def room(self) -> int:
        """Slots that nobody waits for."""
        return max(0, len(self._free) - len(self._ready))

    @property
    def jobs(self) -> list[Job]:
        """The jobs of all answers."""
        return [choice.job for choice in [*self._ready, *self._paused, *self._slots.values()]]

    def add(self, choice: Choice) -> None:
        """Take on an answer that has begun."""
        self._ready.append(choice)

    def clear(self) -> None:
        """Forget all answers."""
        self._free += self._slots
        for queue in (self._ready, self._paused, self._slots):
            queue.clear()

    def sweep(self) -> None:
        """End answers that are over, and take the slots of those whose reader is behind."""
        for slot, choice in list(self._slots.items()):
            if choice.job.over:
                choice.cut()
                self._release(slot)
            elif choice.job.mailbox.pause():
                choice.state = self._batch.state(slot)
                self._paused.append(choice)
                self._release(slot)
        if not self._paused and not self._ready:
            return
        for choice in [*self._paused, *self._ready]:
            if choice.job.over:
                choice.cut()
        self._ready = deque(choice for choice in self._ready if not choice.finished)
        paused, self._paused = self._paused, []
        for choice in paused:
            if not choice.finished:
                (self._paused if choice.job.mailbox.pause() else self._ready).append(choice)

    def step(self) -> int:
        """Give every answer with a slot its next token; returns how many those are."""
        while self._ready and self._free:
            choice, slot = self._ready[0], self._free[-1]
            self._batch.put(slot, choice.state)
            self._slots[self._free.pop()] = self._ready.popleft()
        if not self._slots:
            return 0
        found = self._batch.step({slot: choice.token for slot, choice in self._slots.items()})
        for slot, logits in found.items():
            choice = self._slots[slot]
            try:
                choice.take(logits)
            except C4nError as error:  # logits that are no numbers: of this answer alone
                choice.job.mailbox.fail(ApiError(500, str(error)))
                self._release(slot)
                continue
            if choice.finished:
                # From here a chat's next turn goes on.
                choice.remember()
                self._cache.keep(choice.read, self._batch.state(slot), choice.logits)
                self._release(slot)
        return len(found)

    def _release(self, slot: int) -> None:
        del self._slots[slot]
        self._free.append(slot)
