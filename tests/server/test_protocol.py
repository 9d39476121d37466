"""Clients that send or read too slowly, leave in the middle, or speak no HTTP."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection

from tests.server.client import Running, received, request_bytes, wait_until
from tvm_c4n.server.limits import Limits

LONG = {"prompt": "w1 w2", "max_tokens": 4096, "temperature": 0, "stream": True}


def said(connection: socket.socket) -> bytes:
    """Return all that comes, whatever way the connection ends."""
    found = b""
    with suppress(ConnectionError):
        for part in received(connection):
            found += part
    return found


def test_a_head_that_does_not_end_is_cut_off(start: Callable[..., Running]) -> None:
    running = start(Limits(header_secs=1))
    silent = running.socket()
    half = running.socket(b"GET /health HTTP/1.1\r\nHo")
    drop = running.socket(b"GET /hea")
    began = time.monotonic()
    with suppress(ConnectionError):
        while time.monotonic() < began + 20:
            drop.sendall(b"a")
            time.sleep(0.1)
    assert 0.9 < time.monotonic() - began < 10
    assert said(silent) == said(half) == b""
    assert running.ask("/health").status == 200
    # A connection that was used may wait for longer.
    kept = HTTPConnection("127.0.0.1", running.port, timeout=30)
    kept.request("GET", "/health")
    assert kept.getresponse().read() == b'{"status":"ok"}'
    used = kept.sock
    time.sleep(2.5)
    kept.request("GET", "/health")
    assert kept.getresponse().read() == b'{"status":"ok"}'
    assert kept.sock is used


def test_what_is_no_http_is_answered_and_forgotten(running: Running) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 1_000_000,
        b"GET /" + b"a" * 1_000_000,
        b"\0" * 100_000,
    ):
        connection = running.socket()
        # The server may have closed it by then.
        with suppress(OSError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        found = said(connection)
        assert found == b"" or found.startswith(b"HTTP/1.1 400 "), (sent[:60], found[:100])
    assert running.ask("/health").status == 200


def test_a_client_that_leaves_frees_its_slot(start: Callable[..., Running]) -> None:
    running = start(Limits(slots=1, queue=2))
    for streamed in (True, False):
        body = {**LONG, "stream": streamed}
        reading = running.socket(request_bytes(body))
        wait_until(lambda: running.service.scheduler.decoding == 1)
        waiting = running.socket(request_bytes(body))
        wait_until(lambda: running.service.scheduler.waiting == 1)
        waiting.close()
        wait_until(lambda: running.service.scheduler.waiting == 0)
        reading.close()
        wait_until(lambda: running.service.scheduler.decoding == 0)
        wait_until(lambda: running.service.admission.count == 0)
    left = 'c4n_requests_total{path="/v1/completions",status="499"}'
    assert running.metric(left) == 4


def test_a_reader_that_takes_nothing_holds_up_nobody(start: Callable[..., Running]) -> None:
    # 20 logprobs with each token: an answer that no socket's buffer takes whole.
    running = start(Limits(slots=1, stalled_secs=2, unread_pieces=8))
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", running.port))
    stalled.sendall(request_bytes({**LONG, "logprobs": 20}))
    lane = running.service.models["talking"].lane
    wait_until(lambda: lane._answers.paused == 1)
    assert running.service.scheduler.decoding == 0
    assert running.complete(max_tokens=5).status == 200
    wait_until(lambda: running.service.admission.count == 0)
    wait_until(lambda: lane.empty)
    # It was cut off: what it had been sent is there, and no end.
    assert not said(stalled).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_slow_reader_gets_all_of_its_answer(start: Callable[..., Running]) -> None:
    running = start(Limits(slots=1, unread_pieces=8))
    wanted = running.complete(max_tokens=400).json["choices"][0]["text"]
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", running.port))
    connection.sendall(request_bytes({**LONG, "max_tokens": 400, "logprobs": 20}))
    lane = running.service.models["talking"].lane
    wait_until(lambda: lane._answers.paused == 1)
    found = b""
    while not found.endswith(b"0\r\n\r\n"):
        found += connection.recv(1 << 14)
    texts = re.findall(rb'"text":("[^"]*")', found)
    assert "".join(json.loads(text) for text in texts) == wanted


def test_one_connection_too_many_is_told_so(start: Callable[..., Running]) -> None:
    running = start(Limits(connections=2))
    first, second = running.socket(), running.socket()
    third = running.socket()
    found = said(third)
    assert found.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b'"2 connections are open: ask again in a second"' in found
    first.close()
    second.close()
    wait_until(lambda: running.ask("/health").status == 200)
