"""A connection: uvicorn's, with limits on clients that send or read too slowly, or never end."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.responses import to_json

# Seconds between two looks at a connection.
_LOOK_SECS = 1.0


class Connection(H11Protocol):
    """One client's connection.

    uvicorn waits for ever for the rest of a request's head, and for a reader who takes nothing.
    """

    limits: Limits = Limits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._look: asyncio.TimerHandle | None = None
        # Since when a head is incomplete, and a reader takes nothing.
        self._head_since: float | None = None
        self._stalled_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note a new client; one too many is told so."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.write(_refusal(self.limits))
            transport.close()
        self._head_since = self.loop.time()
        self._look = self.loop.call_later(_LOOK_SECS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sent; the time for a head runs from its first byte."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        waiting = self.conn.their_state is h11.IDLE
        self._head_since = (self._head_since or self.loop.time()) if waiting else None

    def pause_writing(self) -> None:
        """Note that the client's part of the buffer is full."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client has taken something."""
        self._stalled_since = None
        super().resume_writing()

    def _check(self) -> None:
        now, limits = self.loop.time(), self.limits
        if self.transport.is_closing() and self._stalled_since is None:
            # What is still in the buffer gets as long as any other that is to be read.
            self._stalled_since = now
        if _passed(self._stalled_since, now, limits.stalled_secs):
            self.transport.abort()
            return
        if _passed(self._head_since, now, limits.header_secs):
            self.transport.close()
        self._look = self.loop.call_later(_LOOK_SECS, self._check)


def _passed(since: float | None, now: float, secs: float) -> bool:
    return since is not None and now - since > secs


def _refusal(limits: Limits) -> bytes:
    """Return the whole response to a client who is one too many."""
    error = ApiError(503, f"{limits.connections} connections are open: ask again in a second")
    body = to_json(error.content())
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
