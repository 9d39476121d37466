"""The server as a process of its own: curl, signals, addresses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tvm_c4n
from tests.server.client import Running, received, request_bytes, wait_until
from tvm_c4n.errors import C4nError
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.running import address_of, bind

ROOT = Path(tvm_c4n.__file__).parents[1]
LONG = {"prompt": "w1 w2", "temperature": 0, "max_tokens": 1_000_000}


@contextmanager
def process(*args: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run ``tvm-c4n serve``; yields the process and its port."""
    program = "from tvm_c4n.cli.app import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", program, "serve", *map(str, args), "--port", "0", "-t", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    try:
        assert started.stderr is not None
        # What is said before: that the model is compiled.
        said = ""
        while not (found := re.search(r"http://[^ ]*:(\d+) ", said)):
            line = started.stderr.readline()
            assert line, said
            said += line
        yield started, int(found[1])
    finally:
        started.kill()
        started.wait()


def test_curl_asks_a_process_that_ends_with_its_answers(
    talking: Path, tmp_path: Path, curl: str
) -> None:
    def said(*args: str) -> str:
        done = subprocess.run(
            [curl, "-sS", "--max-time", "60", *args], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    file = tmp_path / "key"
    file.write_text("0123456789abcdef\n")
    with process(talking, "--api-key-file", file, "--host", "0.0.0.0") as (server, port):
        url = f"http://127.0.0.1:{port}"
        assert json.loads(said(f"{url}/health")) == {"status": "ok"}
        assert "no API key" in said(f"{url}/v1/models")
        key = ("-H", f"Authorization: Bearer {file.read_text().strip()}")
        body = '{"messages": [{"role": "user", "content": "w1"}], "max_tokens": 5}'
        answer = json.loads(said(*key, f"{url}/v1/chat/completions", "-d", body))
        assert answer["usage"]["completion_tokens"] <= 5
        streamed = body.replace("{", '{"stream": true, ', 1)
        events = said(*key, "-N", f"{url}/v1/chat/completions", "-d", streamed)
        assert events.endswith("data: [DONE]\n\n")
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert server.stderr is not None
        assert server.stderr.read() == "shutting down\n"


def test_answers_under_way_end_clearly(start: Callable[..., Running]) -> None:
    running = start(Limits(shutdown_secs=0.3, max_tokens=1_000_000))
    streamed, whole = (running.socket(request_bytes({**LONG, "stream": x})) for x in (True, False))
    first = streamed.recv(100)
    assert first.startswith(b"HTTP/1.1 200 ")
    # An idle connection that is kept open holds up nothing.
    idle = running.socket()
    wait_until(lambda: running.service.admission.count == 2)
    began = time.monotonic()
    running.stop()
    events = (first + b"".join(received(streamed))).decode()
    assert '"code":"shutting_down"' in events.split("data: ")[-1]
    answer = b"".join(received(whole))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"the server is shutting down: ask again when it is back" in answer
    running.thread.join(20)
    assert time.monotonic() - began < 10
    idle.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(talking: Path, number: int) -> None:
    with process(talking, "--max-tokens", 1_000_000) as (server, port):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(request_bytes({**LONG, "stream": True}))
        assert connection.recv(100)
        server.send_signal(number)
        time.sleep(0.3)
        began = time.monotonic()
        server.send_signal(number)
        assert server.wait(20) == 0
        assert time.monotonic() - began < 4


def test_addresses_that_cannot_be_listened_on() -> None:
    with pytest.raises(C4nError, match="no such address on this machine"):
        bind("no.such.host.invalid", 0, open_to_others=True)
    with pytest.raises(C4nError, match=r"--host 0\.0\.0\.0 lets other machines in"):
        bind("0.0.0.0", 0, open_to_others=False)
    with pytest.raises(C4nError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        bind("192.0.2.1", 0, open_to_others=True)
    first = bind("localhost", 0, open_to_others=False)
    port = first.getsockname()[1]
    assert address_of(first) in (f"http://127.0.0.1:{port}", f"http://[::1]:{port}")
    with pytest.raises(C4nError, match=f"cannot listen on localhost:{port}: Address already"):
        bind("localhost", port, open_to_others=False)
    first.close()
