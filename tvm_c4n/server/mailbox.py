"""From the thread that generates to the one that answers: pieces of answers, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from starlette.requests import ClientDisconnect

from tvm_c4n.runtime.logprobs import TokenLogprobs
from tvm_c4n.server.api_error import ApiError

# Seconds between two looks of a reader while tokens come faster: each look takes the other thread's
# time, and nobody reads a hundred pieces a second.
_LOOK_SECS = 0.01


@dataclass(frozen=True, slots=True)
class Piece:
    """What an answer got in one step.

    Attributes
    ----------
    choice : int
        Index of the answer in its request.
    text : str
        May be empty: of a character that is not complete, of a token that has no text.
    tokens : int
        That the answer has so far.
    scored : tuple of TokenLogprobs
        Where logprobs were asked for; that of a text's first token, which has none, is NaN.
    finish : str, optional
        ``"stop"`` or ``"length"``, with the last piece of an answer.
    """

    choice: int
    text: str
    tokens: int
    scored: tuple[TokenLogprobs, ...] = ()
    finish: str | None = None


class Mailbox:
    """Pieces of the answers of one request, on their way to the client.

    `put`, `fail` and `pause` belong to the thread that generates, all else to the loop's.

    Parameters
    ----------
    limit : int
        Pieces from which on the box is full; what generates then pauses.
    streamed : bool
        False: the reader sleeps until an answer is whole.
    resume : callable
        Called where the reader has caught up with an answer that was paused, or has left.
    """

    def __init__(
        self, limit: int, *, streamed: bool, resume: Callable[[], None] = lambda: None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._pieces: deque[Piece] = deque()
        self._limit, self._streamed = limit, streamed
        self._error: ApiError | None = None
        # Whether the reader was woken and has not looked yet: it is woken once.
        self._told = False
        # When he looked last, and whether an answer has ended: that is told without delay.
        self._looked, self._ended = 0.0, False
        self._resume, self._paused = resume, False
        self.left = False

    def pause(self) -> bool:
        """Return whether the reader is behind, so that its answers have to wait.

        An answer that nobody reads piece by piece never waits.
        """
        # In this order: a reader who catches up in between is not missed.
        self._paused = self._streamed
        self._paused = self._streamed and len(self._pieces) >= self._limit
        return self._paused

    def put(self, piece: Piece) -> None:
        """Add a piece."""
        self._pieces.append(piece)
        self._ended = self._ended or piece.finish is not None
        if self._streamed or self._ended:
            self._tell()

    def fail(self, error: ApiError) -> None:
        """End the request: behind the pieces that are there stands an error."""
        self._error, self._ended = error, True
        self._tell()

    def leave(self) -> None:
        """Note that the client is gone."""
        self.left = True
        self._arrived.set()
        self._resume()

    async def take(self) -> list[Piece]:
        """Wait for pieces and take all that are there.

        Raises
        ------
        ApiError
            As given to `fail`.
        starlette.requests.ClientDisconnect
            The client left.
        """
        await self._arrived.wait()
        early = self._looked + _LOOK_SECS - monotonic()
        if early > 0 and not self._ended and not self.left:
            await asyncio.sleep(early)
        self._arrived.clear()
        self._told, self._looked = False, monotonic()
        if self.left:
            raise ClientDisconnect
        found = []
        while self._pieces:
            found.append(self._pieces.popleft())
        if self._paused:
            self._paused = False
            self._resume()
        if not found and self._error is not None:
            raise self._error
        if self._error is not None:
            self._arrived.set()
        return found

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has ended, and its readers with it
                self._loop.call_soon_threadsafe(self._arrived.set)
