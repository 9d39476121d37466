"""The thread that generates: it owns the models, and gives each a turn while it has work."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic

from tvm_c4n.errors import one_line
from tvm_c4n.server.api_error import ApiError, stopping
from tvm_c4n.server.job import Job
from tvm_c4n.server.lane import Lane

log = logging.getLogger("tvm_c4n.server")

# Seconds after which answers whose reader is behind are looked at: their time may be over.
_LOOK_SECS = 0.1


class Scheduler:
    """Runs lanes in a thread of its own.

    Parameters
    ----------
    make : callable
        Makes the lanes, in that thread: kernels run on the threads of the thread that calls them.
    """

    def __init__(self, make: Callable[[], Sequence[Lane]]) -> None:
        self._make = make
        self._lanes: Sequence[Lane] = ()
        self._arrived: deque[tuple[Lane, Job]] = deque()
        self._changed = threading.Condition()
        self._woken = False
        # When what is under way ends; None: the server runs.
        self._until: float | None = None
        self._made: Future[Sequence[Lane]] = Future()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> Sequence[Lane]:
        """Start the thread; returns the lanes, in the order in which they were made.

        Raises
        ------
        C4nError
            A model cannot be loaded.
        """
        self._thread.start()
        self._lanes = self._made.result()
        return self._lanes

    def submit(self, lane: Lane, job: Job) -> None:
        """Hand over a job."""
        with self._changed:
            self._arrived.append((lane, job))
            self._changed.notify()

    def wake(self) -> None:
        """Look again at answers whose reader was behind."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def stop(self, secs: float) -> None:
        """Let answers end by themselves for so many seconds, then end them with an error."""
        with self._changed:
            self._until = monotonic() + secs
            self._changed.notify()

    def join(self, secs: float | None = None) -> bool:
        """Wait for the thread; returns whether it has ended."""
        self._thread.join(secs)
        return not self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Jobs whose prompt nobody has begun to read."""
        return len(self._arrived) + sum(lane.waiting for lane in self._lanes)

    @property
    def decoding(self) -> int:
        """Answers that have a slot."""
        return sum(lane.decoding for lane in self._lanes)

    def _run(self) -> None:
        try:
            lanes = self._make()
        except BaseException as error:  # said in the thread that waits
            self._made.set_exception(error)
            return
        self._made.set_result(lanes)
        while not self._over(lanes):
            self._take_on(lanes)
            for lane in lanes:
                if not lane.empty:
                    _turn(lane)
        for lane in lanes:
            lane.fail(stopping())
        while self._arrived:
            self._arrived.popleft()[1].mailbox.fail(stopping())

    def _over(self, lanes: Sequence[Lane]) -> bool:
        if self._until is None:
            return False
        busy = self._arrived or any(not lane.empty for lane in lanes)
        return not busy or monotonic() > self._until

    def _take_on(self, lanes: Sequence[Lane]) -> None:
        """Take what arrived; sleep while there is nothing to do."""
        with self._changed:
            if not self._arrived and not self._woken and all(lane.idle for lane in lanes):
                idle = all(lane.empty for lane in lanes) and self._until is None
                self._changed.wait(None if idle else _LOOK_SECS)
            self._woken = False
            while self._arrived:
                lane, job = self._arrived.popleft()
                lane.add(job)


def _turn(lane: Lane) -> None:
    """Give a lane a turn; an error that nobody thought of ends its jobs, and not the server."""
    try:
        lane.turn()
    except Exception as error:
        log.exception("a model failed")
        what = one_line(f"{type(error).__name__}: {error}")
        lane.fail(ApiError(500, f"the model failed: {what}"))
