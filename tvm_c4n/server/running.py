"""A server with its socket: from the first request to the last answer."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import uvicorn

from tvm_c4n.errors import C4nError
from tvm_c4n.server import KEY_VARIABLE
from tvm_c4n.server.app import make_app
from tvm_c4n.server.guard import is_loopback
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.protocol import Connection
from tvm_c4n.server.service import Service

# The head of a request: its first line and headers.
_HEAD_BYTES = 32 << 10
_KEEP_ALIVE_SECS = 30
# After the answers have ended: for what is still on its way to slow readers.
_LAST_SECS = 2.0


def bind(host: str, port: int, *, open_to_others: bool) -> socket.socket:
    """Listen at an address.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        0: any free one.
    open_to_others : bool
        False: an address that other machines reach is refused.

    Raises
    ------
    C4nError
        No such address, one that is refused, or another program listens there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise C4nError(f"--host {host}: no such address on this machine") from None
    if not open_to_others and not is_loopback(str(address[0])):
        raise C4nError(
            f"--host {host} lets other machines in: give a key with --api-key-file FILE, or in "
            f"{KEY_VARIABLE}"
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise C4nError(
            f"cannot listen on {host}:{port}: {error.strerror}; use another --host or --port"
        ) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL of a server."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server:
    """A server that has its socket already.

    Parameters
    ----------
    service : Service
    listener : socket
        Closed at the end.
    key : str, optional
        That requests must bring.
    """

    def __init__(self, service: Service, listener: socket.socket, key: str | None = None) -> None:
        self._service, self._listener = service, listener
        loopback = is_loopback(listener.getsockname()[0])
        limits = service.limits
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                make_app(service, key=key, loopback=loopback),
                http=_connection(limits),
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECS,
                timeout_graceful_shutdown=None,
                h11_max_incomplete_event_size=_HEAD_BYTES,
            )
        )

    def run(self, on_stopping: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or Ctrl-C, and until the answers under way have ended.

        A second signal ends the server at once.

        Parameters
        ----------
        on_stopping : callable
            Called when the first signal is there.
        """

        async def until_signal() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._signalled, stop)
            await self.serve(stop, on_stopping)

        asyncio.run(until_signal())

    async def serve(
        self, stop: asyncio.Event, on_stopping: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until an event is set, and until the answers under way have ended."""
        if any(model.template is not None for model in self._service.models.values()):
            self._service.chats.prepare()
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[self._listener]))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        on_stopping()
        await self._stop(serving)
        waiting.cancel()

    def _signalled(self, stop: asyncio.Event) -> None:
        if stop.is_set():
            self._uvicorn.force_exit = True
        stop.set()

    async def _stop(self, serving: asyncio.Task[None]) -> None:
        """Let answers end, then the connections; whoever reads too slowly is cut off."""
        service = self._service
        service.admission.close()
        secs = service.limits.shutdown_secs
        service.scheduler.stop(secs)
        self._uvicorn.should_exit = True
        loop = asyncio.get_running_loop()
        ended = loop.time() + secs + _LAST_SECS
        while not serving.done() and loop.time() < ended and not self._uvicorn.force_exit:
            await asyncio.sleep(0.05)
        for connection in list(self._uvicorn.server_state.connections):
            connection.transport.abort()
        self._uvicorn.force_exit = True
        await serving
        service.chats.close()
        await asyncio.to_thread(service.scheduler.join, _LAST_SECS)


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, which leaves signals to `Server`."""

    @contextmanager
    def capture_signals(self) -> Any:
        """Take no signals."""
        yield


def _connection(limits: Limits) -> type[Connection]:
    """Return the class of connections with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


def log_to_stderr() -> None:
    """Print what went wrong inside: failures of a model, of a handler."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
