"""Other sites' pages and strangers stay outside."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.server.client import Running
from tvm_c4n.server.guard import is_loopback


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("127.0.0.2", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
        ("127.0.0.1.evil.example", 403),
        ("[::1", 403),
        ("", 403),
        ("@localhost", 403),
    ],
)
def test_another_name_is_no_name_of_this_machine(running: Running, host: str, status: int) -> None:
    found = running.ask("/v1/models", headers={"Host": host})
    assert found.status == status
    if status == 403:
        assert found.error.startswith(f"Host is '{host}': this server answers to localhost")


def test_a_page_of_another_site_may_not_ask(running: Running) -> None:
    own = {"Origin": f"http://127.0.0.1:{running.port}"}
    assert running.ask("/v1/models", headers=own).status == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", ""):
        found = running.ask("/v1/completions", {"prompt": "w1"}, headers={"Origin": origin})
        assert (found.status, found.json["error"]["code"]) == (403, "origin")
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = running.ask("/v1/completions", method="OPTIONS", headers=asked)
    assert preflight.status == 403
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_a_key_is_asked_for(start: Callable[..., Running]) -> None:
    key = "0123456789abcdef"
    running = start(key=key)
    for path in ("/", "/health"):
        assert running.ask(path).status == 200
    for wrong in ("", "Bearer", f"Bearer {key}0", f"Basic {key}", "Bearer \xe9", key):
        for path in ("/v1/models", "/metrics", "/none"):
            found = running.ask(path, headers={"Authorization": wrong})
            assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
            assert "send the header 'Authorization: Bearer KEY'" in found.error
            assert found.json["error"]["type"] == "authentication_error"
    for right in (f"Bearer {key}", f"bearer  {key} "):
        assert running.ask("/v1/models", headers={"Authorization": right}).status == 200


def test_addresses_of_this_machine() -> None:
    inside = ("localhost", "127.0.0.1", "127.9.9.9", "::1")
    outside = ("0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.example.org")
    assert all(map(is_loopback, inside))
    assert not any(map(is_loopback, outside))
