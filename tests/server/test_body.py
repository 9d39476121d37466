"""Bodies of strangers: too long, too deep, no JSON, no text, wrong types."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.server.client import Running, received
from tvm_c4n.server.limits import Limits

PATHS = ("/v1/completions", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "the body is empty: send a JSON object"),
        (b"{", "body: not valid JSON ("),
        (b"[]", "body: JSON is not an object; send a JSON object"),
        (b"null", "body: JSON is not an object; send a JSON object"),
        (b'{"a": "\xff"}', "body: not valid JSON ("),
        (b"\xff\xfe{\x00}\x00", "body: not valid JSON ("),
        (b'{"prompt": "\\ud800"}', "body: not valid JSON (half a character"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body: JSON is nested too deeply"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "body: JSON is nested too deeply"),
        (b'{"temperature": NaN}', "body: not valid JSON ("),
        (b'{"temperature": 1e999}', "body: not valid JSON ("),
        (b'{"n": 1, "n": 2}', "body: not valid JSON (duplicate key 'n')"),
        (b'{"n": ' + b"9" * 5000 + b"}", "body: not valid JSON ("),
        (b'{"\\u0000": 1}', "unknown field '\\x00'"),
        (json.dumps({"a" * 2000: 1}).encode(), "body: not valid JSON (a key of 2000 characters"),
    ],
)
def test_what_is_no_object_is_said_in_one_line(running: Running, body: bytes, line: str) -> None:
    for path in PATHS:
        found = running.ask(path, body, method="POST")
        assert (found.status, found.error.startswith(line)) == (400, True), found.error
        assert "\n" not in found.error


def test_a_long_body_is_refused_before_it_is_read(start: Callable[..., Running]) -> None:
    running = start(Limits(body_bytes=1000))
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
    for sent in (
        # Its length is said, and it never comes; the length is not said.
        f"{head}Content-Length: {10**15}\r\n\r\n",
        f"{head}Transfer-Encoding: chunked\r\n\r\n3e9\r\n{'a' * 1001}\r\n",
    ):
        connection = running.socket(sent.encode())
        said = b"".join(received(connection))
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"the body has more than 1000 bytes: shorten the prompt" in said
    fitting = {"prompt": "w1 " * 300, "max_tokens": 1}
    assert running.ask("/v1/completions", fitting).status == 200


def test_a_body_that_does_not_come_is_not_waited_for(start: Callable[..., Running]) -> None:
    running = start(Limits(body_secs=1))
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    said = b"".join(received(running.socket(head)))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"the body took more than 1 s: send it at once" in said
