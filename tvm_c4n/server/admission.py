"""How many answers may be under way: what comes beyond is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tvm_c4n.server.api_error import ApiError, stopping


class Admission:
    """Counts answers from the arrival of their request to its end; of the loop's thread alone.

    Parameters
    ----------
    most : int
        Answers that are decoded or wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 0
        self.closed = False

    def close(self) -> None:
        """Let nothing more in."""
        self.closed = True

    def check(self, answers: int) -> None:
        """Raise as `enter` does, before anything is done for a request."""
        if self.closed:
            raise stopping()
        if self.count + answers > self._most:
            raise ApiError(
                429,
                f"{self.count} answers are under way or wait, of {self._most} at most: "
                "ask again in a second",
                code="queue_full",
                headers={"Retry-After": "1"},
            )

    @contextmanager
    def enter(self, answers: int) -> Iterator[None]:
        """Count a request's answers while it is being answered.

        Raises
        ------
        ApiError
            503: the server shuts down. 429: too many are there.
        """
        self.check(answers)
        self.count += answers
        try:
            yield
        finally:
            self.count -= answers
