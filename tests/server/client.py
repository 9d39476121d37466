"""Clients that tests ask a server with: well-behaved ones, and a bare socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from tvm_c4n.server.service import Service

# Nothing that a test asks takes nearly as long.
TIMEOUT_SECS = 60


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.data)

    @property
    def error(self) -> str:
        """What the server says is wrong."""
        return str(self.json["error"]["message"])

    @property
    def events(self) -> list[Any]:
        """The events of a stream; the last one says that it is whole."""
        *events, last, rest = self.data.decode().split("\n\n")
        assert (last, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]


@dataclass
class Running:
    """A server that runs in a thread."""

    service: Service
    port: int
    stop: Callable[[], object]
    thread: threading.Thread

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request; a body that is not bytes is sent as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECS)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        try:
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, lowered, response.read())
        finally:
            connection.close()

    def complete(self, **body: Any) -> Reply:
        """Ask for a completion of the model that chats, greedily."""
        return self.ask("/v1/completions", {"prompt": "w1 w2", "temperature": 0, **body})

    def chat(self, *said: str, **body: Any) -> Reply:
        """Ask for the answer to what user and assistant said in turn."""
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
        return self.ask("/v1/chat/completions", {"messages": messages, "temperature": 0, **body})

    def metric(self, name: str) -> float:
        """Return a number of /metrics."""
        for line in self.ask("/metrics").data.decode().splitlines():
            if line.startswith(name):
                return float(line.split()[-1])
        return 0.0

    def socket(self, sent: bytes = b"") -> socket.socket:
        """Connect, and send bytes as they are."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECS)
        connection.sendall(sent)
        return connection


def request_bytes(body: Mapping[str, Any], path: str = "/v1/completions") -> bytes:
    """Return a whole request."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def wait_until(true: Callable[[], bool], secs: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + secs
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def received(connection: socket.socket) -> Iterator[bytes]:
    """Yield what comes until the other end closes."""
    while part := connection.recv(1 << 16):
        yield part
