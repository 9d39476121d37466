"""The thread of the scheduler sleeps while nothing is to do, and ends when it is told."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time, sleep

from tests.server.client import Running, request_bytes, wait_until


def test_a_server_without_work_takes_no_time(start: Callable[..., Running]) -> None:
    running = start()
    assert running.complete(max_tokens=3).status == 200
    began = process_time()
    sleep(1)
    assert process_time() - began < 0.2


def test_it_ends_with_what_is_under_way(start: Callable[..., Running]) -> None:
    running = start()
    body = {"prompt": "w1", "max_tokens": 300, "temperature": 0}
    connection = running.socket(request_bytes(body))
    wait_until(lambda: running.service.scheduler.decoding == 1)
    running.service.scheduler.stop(30)
    assert running.service.scheduler.join(30)
    found = b""
    while b'"completion_tokens":300' not in found:  # head and body may come apart
        part = connection.recv(1 << 16)
        assert part, found
        found += part
    connection.close()
